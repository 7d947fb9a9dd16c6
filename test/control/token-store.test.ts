import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import type { NewToken } from '../../src/api/token.js';
import { MAX_TOKENS } from '../../src/api/values.js';
import { CodedError } from '../../src/base/coded-error.js';
import { type TokenRecord, TokenStore } from '../../src/control/admission/token-store.js';

const DAY_MILLISECONDS = 24 * 3600 * 1000;
const NOW = Date.parse('2026-11-28T12:00:00Z');
const backupOfVms: NewToken = { rights: ['backup'], exports: ['vm*'] };

/** A store whose clock and disk the test controls. */
function newStore(records: readonly TokenRecord[] = []) {
  const clock = { now: NOW };
  const saved: (readonly TokenRecord[])[] = [];
  const disk = { isFull: false };
  const save = async (all: readonly TokenRecord[]) => {
    if (disk.isFull) throw new Error('no space');
    saved.push(all);
  };
  return { store: new TokenStore(records, save, () => clock.now), saved, clock, disk };
}

test('a new token is found, with what it may do and until when', async () => {
  const { store } = newStore();
  const { token, text } = await store.create({ ...backupOfVms, name: 'backup host', ttlSeconds: 60 });
  expect(token).toEqual({
    id: expect.stringMatching(/^[a-z2-9]{8}$/),
    name: 'backup host',
    rights: ['backup'],
    exports: ['vm*'],
    createdAt: '2026-11-28T12:00:00.000Z',
    expiresAt: '2026-11-28T12:01:00.000Z',
  });
  expect(text).toMatch(new RegExp(`^tm_${token.id}_[\\w-]{43}$`));
  expect(store.find(text)).toEqual({ token });
  expect(store.list()).toEqual([token]);
});

test('a token is for all exports and for 90 days unless the request says otherwise', async () => {
  const { store } = newStore();
  const { token } = await store.create({ rights: ['list', 'list', 'read'] });
  expect(token).toMatchObject({ rights: ['list', 'read'], exports: ['*'], expiresAt: '2027-02-26T12:00:00.000Z' });
  expect((await store.create({ rights: ['list'], ttlSeconds: null })).token.expiresAt).toBe(null);
});

test('no two tokens are alike, and only a hash of the secret is kept', async () => {
  const { store, saved } = newStore();
  const [first, second] = [await store.create(backupOfVms), await store.create(backupOfVms)];
  expect(first.text).not.toBe(second.text);
  const secret = first.text.slice('tm_12345678_'.length);
  expect(JSON.stringify(saved)).not.toContain(secret);
  expect(saved.at(-1)![0]!.hash).toBe(createHash('sha256').update(secret).digest('hex'));
  expect(JSON.stringify(store.list())).not.toContain('hash');
});

test('anything but a whole token is unknown', async () => {
  const { store } = newStore();
  const [{ text }, other] = [await store.create(backupOfVms), await store.create(backupOfVms)];
  const wrong = [
    ...['', 'tm_', 'secret', text.slice(0, -1), `${text}A`, ` ${text}`, `${text}\n`, text.toUpperCase()],
    ...[text.slice(3), text.replace(/^tm_.{8}/, other.text.slice(0, 11)), `tm_aaaaaaaa_${'A'.repeat(43)}`],
    text.replace(/.$/, (last) => (last === 'A' ? 'Q' : 'A')),
  ];
  for (const one of wrong) expect(store.find(one), one).toEqual({ refused: 'unknown token' });
});

test('a token is refused from the moment on that it expires, and the log learns when that was', async () => {
  const { store, clock } = newStore();
  const { token, text } = await store.create({ ...backupOfVms, ttlSeconds: 60 });
  clock.now += 59_999;
  expect(store.find(text)).toEqual({ token });
  expect(store.isValid(token.id)).toBe(true);
  clock.now += 1;
  expect(store.find(text)).toEqual({ refused: `token ${token.id} expired on 2026-11-28T12:01:00.000Z` });
  expect(store.isValid(token.id)).toBe(false);
});

test('whether a wrong secret belongs to an expired token is not told', async () => {
  const { store, clock } = newStore();
  const { token } = await store.create({ ...backupOfVms, ttlSeconds: 1 });
  clock.now += 2000;
  expect(store.find(`tm_${token.id}_${'A'.repeat(43)}`)).toEqual({ refused: 'unknown token' });
});

test('a removed token is unknown at once, and stays so', async () => {
  const { store, saved } = newStore();
  const [{ token, text }, other] = [await store.create(backupOfVms), await store.create(backupOfVms)];
  await store.remove(token.id);
  expect(store.find(text)).toEqual({ refused: 'unknown token' });
  expect(store.isValid(token.id)).toBe(false);
  expect(newStore(saved.at(-1)).store.list()).toEqual([other.token]);
  await expect(store.remove(token.id)).rejects.toMatchObject({ code: 'TOKEN_NOT_FOUND' });
});

test('after a failure to save, everything is as before', async () => {
  const { store, disk } = newStore();
  const { token, text } = await store.create(backupOfVms);
  disk.isFull = true;
  await expect(store.create(backupOfVms)).rejects.toThrow('no space');
  await expect(store.remove(token.id)).rejects.toThrow('no space');
  expect(store.list()).toEqual([token]);
  expect(store.find(text)).toEqual({ token });
});

test('tokens that are made at the same time do not displace each other', async () => {
  const { store, saved } = newStore();
  const made = await Promise.all(Array.from({ length: 10 }, () => store.create(backupOfVms)));
  expect(store.list()).toEqual(made.map(({ token }) => token));
  expect(newStore(saved.at(-1)).store.list()).toEqual(store.list());
});

test('an expired token is listed for 30 days', async () => {
  const { store, clock } = newStore();
  const { token } = await store.create({ ...backupOfVms, ttlSeconds: 1 });
  clock.now += 30 * DAY_MILLISECONDS;
  const { token: second } = await store.create(backupOfVms);
  expect(store.list()).toEqual([token, second]);
  clock.now += 1000;
  const { token: third } = await store.create(backupOfVms);
  expect(store.list()).toEqual([second, third]);
});

test('the number of tokens is limited', async () => {
  const { store } = newStore();
  for (let i = 0; i < MAX_TOKENS; i++) await store.create(backupOfVms);
  const refused = store.create(backupOfVms);
  await expect(refused).rejects.toBeInstanceOf(CodedError);
  await expect(refused).rejects.toMatchObject({ code: 'TOO_MANY_TOKENS' });
  await store.remove(store.list()[0]!.id);
  await store.create(backupOfVms);
});
