import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type CommandLine, Program } from './program.js';

const WAIT_SECONDS = 10;

/** A program that goes into the background by itself and writes its process id to a file. */
export class Daemon implements AsyncDisposable {
  private constructor(readonly pid: number) {}

  static async start(commandLine: CommandLine, pidFile: string, signal: AbortSignal): Promise<Daemon> {
    await using starter = new Program(commandLine, signal);
    await starter.finished();
    let pid = 0;
    const isThere = await within(WAIT_SECONDS, async () => {
      pid = Number.parseInt(await readFile(pidFile, 'utf8').catch(() => ''), 10);
      return pid > 0;
    });
    if (!isThere) throw new Error(`${commandLine[0]} wrote no process id`);
    return new Daemon(pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.kill(this.pid, 'SIGTERM');
    const ended = await within(WAIT_SECONDS, async () => !isRunning(this.pid));
    if (!ended) process.kill(this.pid, 'SIGKILL');
  }
}

async function within(seconds: number, isSo: () => Promise<boolean>): Promise<boolean> {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await delay(20)) {
    if (await isSo()) return true;
  }
  return false;
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
