import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Program } from '../../bench/program.js';

/** Its child ignores the polite signal and has a session of its own, like a job of fio. Its id is printed. */
const family = ['sh', '-c', `setsid sh -c "trap '' TERM; exec sleep 600" & echo $!; wait`] as const;

async function childOf(program: Program): Promise<number> {
  await expect.poll(() => program.output).toContain('\n');
  return Number(program.output);
}

/** The process has ended, even if nobody has waited for it yet. */
const isGone = (pid: number) => !existsSync(`/proc/${pid}/exe`);

test('an abort ends a program and its children, and says why', async () => {
  const abort = new AbortController();
  await using program = new Program(family, abort.signal);
  const child = await childOf(program);
  abort.abort(new Error('interrupted'));
  await expect(program.finished()).rejects.toThrow('interrupted');
  await expect.poll(() => isGone(child)).toBe(true);
});

test('a program that fails says what it wrote', async () => {
  await using failing = new Program(['sh', '-c', 'echo no room; exit 3'], new AbortController().signal);
  await expect(failing.finished()).rejects.toThrow('sh failed (exit code 3):\nno room');
  await using missing = new Program(['/does/not/exist'], new AbortController().signal);
  await expect(missing.finished()).rejects.toThrow('ENOENT');
});
