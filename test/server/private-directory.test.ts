import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { makePrivateDirectory } from '../../src/server/private-directory.js';
import { keepLog } from '../support/log-lines.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** A state directory with the given files that others can read. */
function openDirectory(...names: string[]): string {
  const path = join(scratchFolder(), 'state');
  mkdirSync(path);
  for (const name of names) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), '');
  }
  chmodSync(path, 0o755);
  return path;
}

const modeOf = (path: string) => statSync(path).mode & 0o777;

test('a new state directory is accessible only to its owner', async () => {
  const path = join(scratchFolder(), 'var/state');
  await makePrivateDirectory(path, keepLog().log);
  expect(modeOf(path)).toBe(0o700);
});

test.each([
  ['empty', []],
  ['a state directory already', ['lock', 'store/data.mdb', 'http-token']],
])('the access of others is removed and logged when the directory is %s', async (_what, names) => {
  const path = openDirectory(...names);
  const { log, lines } = keepLog();
  await makePrivateDirectory(path, log);
  expect(modeOf(path)).toBe(0o700);
  expect(lines).toMatchObject([{ level: 'warn', fields: { was: '0755' } }]);
});

test('a folder that others need is refused, and their access is kept', async () => {
  const path = openDirectory('disk.img', 'lock');
  await expect(makePrivateDirectory(path, keepLog().log)).rejects.toMatchObject({ code: 'STORE_UNUSABLE' });
  expect(modeOf(path)).toBe(0o755);
});

const NOBODY = 65534;

test('a directory of another user is refused, even if nobody else can read it', async () => {
  const path = openDirectory('lock', 'store/data.mdb');
  chmodSync(path, 0o700);
  chownSync(path, NOBODY, NOBODY);
  await expect(makePrivateDirectory(path, keepLog().log)).rejects.toMatchObject({
    code: 'STORE_UNUSABLE',
    message: expect.stringContaining(`user id ${NOBODY}`),
  });
});

const replaceByLink = (path: string) => {
  renameSync(path, `${path}.elsewhere`);
  symlinkSync(`${path}.elsewhere`, path);
  rmSync(`${path}.elsewhere`, { recursive: true });
};

test.each([
  ['a link in place of the lock', 'lock', replaceByLink],
  ['a link in place of the store', 'store/lock.mdb', replaceByLink],
  ['a file of another user', 'store/data.mdb', (path: string) => chownSync(path, NOBODY, NOBODY)],
  ['a file that all may write', 'store/data.mdb', (path: string) => chmodSync(path, 0o666)],
  [
    'a file with another name elsewhere',
    'http-token',
    (path: string) => linkSync(path, join(scratchFolder(), 'other')),
  ],
])('a directory is refused when others may have put %s there', async (_what, name, plant) => {
  const path = openDirectory('lock', 'store/data.mdb', 'store/lock.mdb', 'http-token');
  plant(join(path, name));
  await expect(makePrivateDirectory(path, keepLog().log)).rejects.toMatchObject({
    code: 'STORE_UNUSABLE',
    message: `other users had access to the state directory ${path}, and may have put ${join(path, name)} there`,
  });
});
