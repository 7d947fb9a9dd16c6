import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, linkSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LockFile, LockHeldError } from '../../src/posix/lock-file.js';
import { scratchFolder } from '../support/scratch-folder.js';

const built = resolve(import.meta.dirname, '../../dist/posix/lock-file.js');
const NOBODY = 65534;

/** Takes the lock in another process, which holds it until it is killed. Resolves once it has the lock. */
async function holdElsewhere(path: string, ...wrapper: string[]) {
  const script = `const { LockFile } = await import(${JSON.stringify(built)});
    const lock = await LockFile.take(${JSON.stringify(path)}); console.log(process.pid); setInterval(() => lock, 1e6);`;
  const [program, ...args] = [...wrapper, process.execPath, '--input-type=module', '--eval', script];
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [output] = await once(child.stdout, 'data');
  return { child, pid: Number(output) };
}

test('a lock has one holder at a time, and its file is removed with it', async () => {
  const path = join(scratchFolder(), '.lock');
  {
    await using _lock = await LockFile.take(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await expect(LockFile.take(path)).rejects.toMatchObject({ holder: `process ${process.pid} on ${hostname()}` });
  }
  expect(existsSync(path)).toBe(false);
  await using _again = await LockFile.take(path);
});

test('a holder in another network namespace is seen and named', async () => {
  const path = join(scratchFolder(), '.lock');
  const { child, pid } = await holdElsewhere(path, 'unshare', '--map-root-user', '--net');
  await expect(LockFile.take(path)).rejects.toThrow(`is locked by process ${pid} on `);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await using _lock = await LockFile.take(path);
});

test('a user who can only read the folder cannot hold the lock', async () => {
  const folder = scratchFolder();
  execFileSync('chmod', ['755', folder]);
  const path = join(folder, '.lock');
  await using _lock = await LockFile.take(path);
  for (const redirection of ['<', '>>']) {
    const attempt = () =>
      execFileSync('sh', ['-c', `: ${redirection}"$0"`, path], { stdio: 'pipe', uid: NOBODY, gid: NOBODY });
    expect(attempt).toThrow(/Permission denied/);
  }
});

test('anything else in place of the lock file is not followed, written to or waited for', async () => {
  const folder = scratchFolder();
  const victim = join(folder, 'victim');
  writeFileSync(victim, 'precious');
  const [link, second, pipe] = ['link', 'second', 'pipe'].map((name) => join(folder, name)) as [string, string, string];
  symlinkSync(victim, link);
  linkSync(victim, second);
  execFileSync('mkfifo', [pipe]);
  await expect(LockFile.take(link)).rejects.toThrow(/ELOOP/);
  await expect(LockFile.take(second)).rejects.toThrow(/more than one name/);
  await expect(LockFile.take(pipe)).rejects.toThrow(/is not a regular file/);
  expect(readFileSync(victim, 'utf8')).toBe('precious');
});

test('many processes that want a lock hold it one at a time', async () => {
  const path = join(scratchFolder(), '.lock');
  let holders = 0;
  const workAlone = async () => {
    for (;;) {
      try {
        await using _lock = await LockFile.take(path);
        expect(++holders).toBe(1);
        await new Promise(setImmediate);
        holders--;
        return;
      } catch (error) {
        if (!(error instanceof LockHeldError)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: 20 }, workAlone));
});
