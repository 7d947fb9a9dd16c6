import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** The kernel's unit in /proc, the same on all Linux machines that Node runs on. */
const TICKS_PER_SECOND = 100;

/**
 * The user and system time that these processes have used so far, with all of their threads and descendants, in
 * microseconds. Descendants that have ended count if their parent has waited for them. It is precise to 10 ms a process.
 */
export async function processorMicroseconds(pids: readonly number[]): Promise<number> {
  for (;;) {
    const family = withDescendants(pids);
    const stats = await Promise.all(family.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')));
    // When a process goes, its time moves to its parent. It would count never or twice if that happened meanwhile.
    if (String(withDescendants(pids)) !== String(family)) continue;
    const ticks = stats.reduce((sum, stat) => sum + ticksOf(stat), 0);
    return (ticks * 1_000_000) / TICKS_PER_SECOND;
  }
}

/** The processes and all that descend from them. */
export function withDescendants(pids: readonly number[]): number[] {
  const all = [...pids];
  // The list grows while it is walked.
  for (const pid of all) all.push(...childrenOf(pid));
  return all;
}

function childrenOf(pid: number): number[] {
  const folder = `/proc/${pid}/task`;
  try {
    const lists = readdirSync(folder).map((thread) => readFileSync(`${folder}/${thread}/children`, 'utf8'));
    return lists.flatMap((list) => list.split(' ').filter(Boolean).map(Number));
  } catch {
    // The process is gone, or one of its threads.
    return [];
  }
}

/** utime, stime, cutime and cstime of /proc/PID/stat, which follow the name in brackets, and eleven more fields. */
export function ticksOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
}
