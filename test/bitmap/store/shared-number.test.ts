import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import {
  makeSharedNumber,
  openSharedNumber,
  readSharedNumber,
  removeSharedNumber,
} from '../../../src/bitmap/store/shared-number.js';
import { nodePosix } from '../../../src/posix/node-posix.js';
import { native } from '../../support/scratch-device.js';
import { scratchFolder } from '../../support/scratch-folder.js';

test('a number is seen by others as soon as it is set, belongs to its owner alone, and goes when it is released', async () => {
  const { path, parts, release } = makeSharedNumber(native)!;
  expect(await readSharedNumber(path)).toBe(0);
  parts[0] = 2 ** 52 + 1;
  expect(await readSharedNumber(path)).toBe(2 ** 52 + 1);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  release();
  expect(existsSync(path)).toBe(false);
  expect(await readSharedNumber(path)).toBeUndefined();
  removeSharedNumber(path);
});

test('a number is the sum of parts, each of which another thread can change', async () => {
  const { path, parts, besides, release } = makeSharedNumber(native)!;
  const other = openSharedNumber(native, path)!;
  parts[0] = 1000;
  other.parts[1] = 8;
  other.besides[1] = 5;
  expect(await readSharedNumber(path)).toBe(1008);
  expect(besides[1]).toBe(5);
  other.release();
  release();
  expect(openSharedNumber(native, path)).toBeUndefined();
});

test('a number that an earlier version left is read', async () => {
  const path = join(scratchFolder(), 'number');
  writeFileSync(path, new Uint8Array(Float64Array.of(4711).buffer));
  expect(await readSharedNumber(path)).toBe(4711);
  expect(openSharedNumber(native, path)).toBeUndefined();
});

test('if memory cannot be shared there is no number, and no file is left', () => {
  let made: string | undefined;
  const posix = {
    ...nodePosix,
    mapSharedNow: (fd: number) => {
      made = `/proc/self/fd/${fd}`;
      return undefined;
    },
  };
  expect(makeSharedNumber(posix)).toBeUndefined();
  expect(existsSync(made!)).toBe(false);
});

test('no number is read from a file of another size, or from a folder', async () => {
  const path = join(scratchFolder(), 'number');
  onTestFinished(() => removeSharedNumber(path));
  writeFileSync(path, '1234567');
  expect(await readSharedNumber(path)).toBeUndefined();
  expect(await readSharedNumber('/dev/shm')).toBeUndefined();
});

test('systemd does not delete the numbers of a server that it restarts', () => {
  expect(readFileSync('packaging/systemd/tidemark.service', 'utf8')).toMatch(/^RemoveIPC=no$/m);
});
