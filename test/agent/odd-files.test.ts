import { execFileSync } from 'node:child_process';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { prune } from '../../src/agent/prune.js';
import { restore } from '../../src/agent/restore.js';
import { verify } from '../../src/agent/verify.js';
import { pullScene, quiet } from '../support/pull-scene.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

/** Replaces a file with a pipe. Opening a pipe blocks, so a writer opens it when the test is over. */
function replaceByPipe(path: string): void {
  renameSync(path, `${path}.away`);
  execFileSync('mkfifo', [path]);
  onTestFinished(() => void execFileSync('timeout', ['1', 'sh', '-c', `: <>"$0"`, path]));
}

async function chainOfTwo() {
  const scene = await pullScene();
  const { id: first } = await scene.pull();
  const { id: second } = await scene.pull();
  const restoreUnchecked = () =>
    restore({
      ...{ directory: scene.directory, exportName: 'disk', at: undefined, to: join(scratchFolder(), 'a.img') },
      ...{ force: false, check: false, ...quiet },
    });
  return { ...scene, first, second, restoreUnchecked };
}

test('a pipe in place of a manifest does not block', async () => {
  const { directory, folder, pull, restoreUnchecked } = await chainOfTwo();
  replaceByPipe(join(folder, 'manifest.json'));
  const refusal = 'manifest.json is not a regular file';
  expect((await verify(directory, quiet)).exports[0]!.problem).toContain(refusal);
  expect((await prune(directory, { policy: { last: 1 }, ...quiet }))[0]!.problem).toContain(refusal);
  await expect(restoreUnchecked()).rejects.toThrow(refusal);
  await expect(pull()).rejects.toThrow(refusal);
});

test('a pipe in place of an image does not block', async () => {
  const { directory, folder, first, restoreUnchecked } = await chainOfTwo();
  replaceByPipe(join(folder, `${first}.qcow2`));
  const { points } = (await verify(directory, quiet)).exports[0]!;
  expect(points[0]!.problem).toBe('it is not a regular file');
  expect((await prune(directory, { policy: { last: 1 }, ...quiet }))[0]!.problem).toContain('it is not a regular file');
  await expect(restoreUnchecked()).rejects.toThrow('it is not a regular file');
});

test('a pull to a folder that cannot be created fails at once', async () => {
  const pulled = await outcomeOf(
    ...(['timeout', '20', process.execPath, tidemarkProgram, 'pull', 'disk', '--bitmap', 'nightly'] as const),
    ...['--to', '/proc/x'],
  );
  expect(pulled).toMatchObject({ code: 1, stderr: expect.stringContaining('/proc/x/disk cannot be made: ENOENT') });
});
