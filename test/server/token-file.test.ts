import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { operator } from '../../src/access/identity.js';
import { openTokens } from '../../src/server/token-file.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** A state directory with one token. */
async function withToken() {
  const folder = join(scratchFolder(), 'state');
  mkdirSync(folder);
  const store = await openTokens(folder);
  const made = await store.create({ rights: ['backup'] }, operator);
  return { folder, path: join(folder, 'tokens.json'), store, ...made };
}

test('without tokens there is no file', async () => {
  const folder = scratchFolder();
  expect((await openTokens(folder)).list()).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
});

test('tokens survive a restart, in a file that only its owner can read', async () => {
  const { folder, path, token, text } = await withToken();
  expect(readdirSync(folder)).toEqual(['tokens.json']);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const again = await openTokens(folder);
  expect(again.list()).toEqual([token]);
  expect(again.find(text)).toEqual({ token });
});

test('a removed token does not come back', async () => {
  const { folder, store, token, text } = await withToken();
  await store.remove(token.id);
  expect((await openTokens(folder)).find(text)).toEqual({ refused: 'unknown token' });
});

test('what an interrupted change has left is removed', async () => {
  const { folder, token } = await withToken();
  writeFileSync(join(folder, `.tokens.json.${'0a'.repeat(12)}.new`), '{');
  expect((await openTokens(folder)).list()).toEqual([token]);
  expect(readdirSync(folder)).toEqual(['tokens.json']);
});

test.each([
  ['no JSON', () => 'tokens'],
  ['nothing', () => ''],
  ['null', () => 'null'],
  ['another version', (text: string) => text.replace('"version": 1', '"version": 2')],
  ['an unknown right', (text: string) => text.replace('"backup"', '"everything"')],
  ['no patterns', (text: string) => text.replace('"exports"', '"export"')],
  ['a pattern that is not text', (text: string) => text.replace('"*"', '1')],
  ['a time that is none', (text: string) => text.replace(/"expiresAt": "[^"]*"/, '"expiresAt": "soon"')],
  ['no end', (text: string) => text.replace(/,\s*"expiresAt": "[^"]*"/, '')],
  ['a parent that is no token', (text: string) => text.replace('"madeBy"', '"parent": 1, "madeBy"')],
  ['a hash that is too short', (text: string) => text.replace(/"hash": "../, '"hash": "')],
])('a file with %s is refused, because rights must not be guessed', async (_what, spoil) => {
  const { folder, path } = await withToken();
  const before = readFileSync(path, 'utf8');
  writeFileSync(path, spoil(before));
  expect(readFileSync(path, 'utf8')).not.toBe(before);
  await expect(openTokens(folder)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining(path),
    hint: expect.stringContaining('remove it'),
  });
});

test.each([0o604, 0o640, 0o606])('a file with the mode %o, which others may have changed, is refused', async (mode) => {
  const { folder, path } = await withToken();
  chmodSync(path, mode);
  await expect(openTokens(folder)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('a link in place of the file is refused', async () => {
  const [{ path }, folder] = [await withToken(), scratchFolder()];
  symlinkSync(path, join(folder, 'tokens.json'));
  await expect(openTokens(folder)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

test('when the file cannot be written, the command fails and the tokens stay as they were', async () => {
  const { folder, store, token } = await withToken();
  // Even root cannot make a file in a folder that is gone.
  const path = join(folder, 'tokens.json');
  rmSync(folder, { recursive: true });
  await expect(store.create({ rights: ['list'] }, operator)).rejects.toMatchObject({
    code: 'STORE_UNUSABLE',
    message: expect.stringContaining(path),
  });
  expect(store.list()).toEqual([token]);
});
