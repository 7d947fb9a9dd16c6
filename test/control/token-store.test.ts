import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { type Identity, operator } from '../../src/access/identity.js';
import type { NewToken, Token } from '../../src/api/token.js';
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
  const { token, text } = await store.create({ ...backupOfVms, name: 'backup host', ttlSeconds: 60 }, operator);
  expect(token).toEqual({
    id: expect.stringMatching(/^[a-z2-9]{8}$/),
    name: 'backup host',
    rights: ['backup'],
    exports: ['vm*'],
    createdAt: '2026-11-28T12:00:00.000Z',
    expiresAt: '2026-11-28T12:01:00.000Z',
    madeBy: 'the operator',
  });
  expect(text).toMatch(new RegExp(`^tm_${token.id}_[\\w-]{43}$`));
  expect(store.find(text)).toEqual({ token });
  expect(store.list()).toEqual([token]);
});

test('a token is for all exports and for 90 days unless the request says otherwise', async () => {
  const { store } = newStore();
  const { token } = await store.create({ rights: ['list', 'list', 'read'] }, operator);
  expect(token).toMatchObject({ rights: ['list', 'read'], exports: ['*'], expiresAt: '2027-02-26T12:00:00.000Z' });
  expect((await store.create({ rights: ['list'], ttlSeconds: null }, operator)).token.expiresAt).toBe(null);
});

test('no two tokens are alike, and only a hash of the secret is kept', async () => {
  const { store, saved } = newStore();
  const [first, second] = [await store.create(backupOfVms, operator), await store.create(backupOfVms, operator)];
  expect(first.text).not.toBe(second.text);
  const secret = first.text.slice('tm_12345678_'.length);
  expect(JSON.stringify(saved)).not.toContain(secret);
  expect(saved.at(-1)![0]!.hash).toBe(createHash('sha256').update(secret).digest('hex'));
  expect(JSON.stringify(store.list())).not.toContain('hash');
});

test('a token of somebody who signed in is gone when it expires, and is in the list until then', async () => {
  const { store, saved, clock } = newStore();
  const { token, text } = await store.createPassing({ rights: ['admin'], ttlSeconds: 60 }, operator);
  expect(store.list()).toEqual([token]);
  expect(token).not.toHaveProperty('passing');
  expect(store.find(text)).toEqual({ token });
  clock.now += 60_000;
  await store.create(backupOfVms, operator);
  expect(saved.at(-1)!.map(({ id }) => id)).not.toContain(token.id);
});

test('somebody who signs in takes the place of the one who did so first, and of no other token', async () => {
  const { store } = newStore();
  const { token: kept } = await store.create(backupOfVms, operator);
  const first = await store.createPassing({ rights: ['admin'] }, operator);
  const child = await store.create(backupOfVms, { ...operator, token: first.token });
  for (let i = 0; i < 99; i++) await store.createPassing({ rights: ['admin'] }, operator);
  expect(store.find(child.text)).toHaveProperty('token');
  await store.createPassing({ rights: ['admin'] }, operator);
  expect(store.find(first.text)).toHaveProperty('refused');
  expect(store.find(child.text)).toHaveProperty('refused');
  expect(store.list()).toHaveLength(101);
  expect(store.isValid(kept.id)).toBe(true);
});

test('when there are as many tokens as a server keeps, people can still sign in, and they count apart', async () => {
  const { store } = newStore();
  for (let i = 0; i < MAX_TOKENS - 1; i++) await store.create(backupOfVms, operator);
  const { text } = await store.createPassing({ rights: ['admin'] }, operator);
  await store.create(backupOfVms, operator);
  await expect(store.create(backupOfVms, operator)).rejects.toMatchObject({ code: 'TOO_MANY_TOKENS' });
  const again = await store.createPassing({ rights: ['admin'] }, operator);
  for (const one of [text, again.text]) expect(store.find(one)).toHaveProperty('token');
});

test('anything but a whole token is unknown', async () => {
  const { store } = newStore();
  const [{ text }, other] = [await store.create(backupOfVms, operator), await store.create(backupOfVms, operator)];
  const wrong = [
    ...['', 'tm_', 'secret', text.slice(0, -1), `${text}A`, ` ${text}`, `${text}\n`, text.toUpperCase()],
    ...[text.slice(3), text.replace(/^tm_.{8}/, other.text.slice(0, 11)), `tm_aaaaaaaa_${'A'.repeat(43)}`],
    text.replace(/.$/, (last) => (last === 'A' ? 'Q' : 'A')),
  ];
  for (const one of wrong) expect(store.find(one), one).toEqual({ refused: 'unknown token' });
});

test('a token is refused from the moment on that it expires, and the log learns when that was', async () => {
  const { store, clock } = newStore();
  const { token, text } = await store.create({ ...backupOfVms, ttlSeconds: 60 }, operator);
  clock.now += 59_999;
  expect(store.find(text)).toEqual({ token });
  expect(store.isValid(token.id)).toBe(true);
  clock.now += 1;
  expect(store.find(text)).toEqual({ refused: `token ${token.id} expired on 2026-11-28T12:01:00.000Z` });
  expect(store.isValid(token.id)).toBe(false);
});

test('whether a wrong secret belongs to an expired token is not told', async () => {
  const { store, clock } = newStore();
  const { token } = await store.create({ ...backupOfVms, ttlSeconds: 1 }, operator);
  clock.now += 2000;
  expect(store.find(`tm_${token.id}_${'A'.repeat(43)}`)).toEqual({ refused: 'unknown token' });
});

test('a removed token is unknown at once, and stays so', async () => {
  const { store, saved } = newStore();
  const [{ token, text }, other] = [
    await store.create(backupOfVms, operator),
    await store.create(backupOfVms, operator),
  ];
  await store.remove(token.id);
  expect(store.find(text)).toEqual({ refused: 'unknown token' });
  expect(store.isValid(token.id)).toBe(false);
  expect(newStore(saved.at(-1)).store.list()).toEqual([other.token]);
  await expect(store.remove(token.id)).rejects.toMatchObject({ code: 'TOKEN_NOT_FOUND' });
});

test('after a failure to save, everything is as before', async () => {
  const { store, disk } = newStore();
  const { token, text } = await store.create(backupOfVms, operator);
  disk.isFull = true;
  await expect(store.create(backupOfVms, operator)).rejects.toThrow('no space');
  await expect(store.remove(token.id)).rejects.toThrow('no space');
  expect(store.list()).toEqual([token]);
  expect(store.find(text)).toEqual({ token });
});

test('tokens that are made at the same time do not displace each other', async () => {
  const { store, saved } = newStore();
  const made = await Promise.all(Array.from({ length: 10 }, () => store.create(backupOfVms, operator)));
  expect(store.list()).toEqual(made.map(({ token }) => token));
  expect(newStore(saved.at(-1)).store.list()).toEqual(store.list());
});

test('an expired token is listed for 30 days', async () => {
  const { store, clock } = newStore();
  const { token } = await store.create({ ...backupOfVms, ttlSeconds: 1 }, operator);
  clock.now += 30 * DAY_MILLISECONDS;
  const { token: second } = await store.create(backupOfVms, operator);
  expect(store.list()).toEqual([token, second]);
  clock.now += 1000;
  const { token: third } = await store.create(backupOfVms, operator);
  expect(store.list()).toEqual([second, third]);
});

test('the number of tokens is limited', async () => {
  const { store } = newStore();
  for (let i = 0; i < MAX_TOKENS; i++) await store.create(backupOfVms, operator);
  const refused = store.create(backupOfVms, operator);
  await expect(refused).rejects.toBeInstanceOf(CodedError);
  await expect(refused).rejects.toMatchObject({ code: 'TOO_MANY_TOKENS' });
  await store.remove(store.list()[0]!.id);
  await store.create(backupOfVms, operator);
});

/** Whoever makes a request with this token, from some machine. */
const holderOf = (token: Token): Identity => ({
  over: 'http',
  from: { kind: 'tcp', address: '10.0.0.7' },
  encrypted: true,
  token,
});

test('a token that is made with a token expires with it at the latest', async () => {
  const { store } = newStore();
  const { token: parent } = await store.create({ rights: ['admin'], ttlSeconds: 60 }, operator);
  const lives: Pick<NewToken, 'ttlSeconds'>[] = [{}, { ttlSeconds: null }, { ttlSeconds: 61 }];
  for (const life of lives) {
    const { token } = await store.create({ ...backupOfVms, ...life }, holderOf(parent));
    expect(token).toMatchObject({
      expiresAt: parent.expiresAt,
      madeBy: `token ${parent.id} (10.0.0.7)`,
      parent: parent.id,
    });
  }
  const { token: shorter } = await store.create({ ...backupOfVms, ttlSeconds: 59 }, holderOf(parent));
  expect(shorter.expiresAt).toBe('2026-11-28T12:00:59.000Z');
  const { token: endless } = await store.create({ rights: ['admin'], ttlSeconds: null }, operator);
  expect((await store.create({ ...backupOfVms, ttlSeconds: null }, holderOf(endless))).token.expiresAt).toBe(null);
});

test('with a token, those are removed that were made with it, and with those', async () => {
  const { store, saved } = newStore();
  const { token: first } = await store.create({ rights: ['admin'] }, operator);
  const { token: second } = await store.create({ rights: ['admin'] }, holderOf(first));
  const { token: other } = await store.create({ rights: ['admin'] }, operator);
  const { token: third, text } = await store.create(backupOfVms, holderOf(second));
  expect(await store.remove(first.id)).toEqual([first.id, second.id, third.id]);
  expect(store.find(text)).toEqual({ refused: 'unknown token' });
  expect(newStore(saved.at(-1)).store.list()).toEqual([other]);
});

test('nothing is made with a token that has ended while the request was on its way', async () => {
  const { store, clock } = newStore();
  const { token: removed } = await store.create({ rights: ['admin'] }, operator);
  const [, late] = await Promise.allSettled([store.remove(removed.id), store.create(backupOfVms, holderOf(removed))]);
  expect(late).toMatchObject({ status: 'rejected', reason: { code: 'UNAUTHORIZED' } });
  const { token: expired } = await store.create({ rights: ['admin'], ttlSeconds: 1 }, operator);
  clock.now += 1000;
  await expect(store.create(backupOfVms, holderOf(expired))).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  expect(store.list()).toEqual([expired]);
});

test('whoever makes a token with a certificate is named', async () => {
  const { store } = newStore();
  const certificate = { dn: 'CN=admin', commonName: 'admin', names: [], serial: '01' };
  const admin: Identity = { over: 'http', from: { kind: 'tcp', address: '10.0.0.8' }, encrypted: true, certificate };
  const { token } = await store.create(backupOfVms, admin);
  expect(token.madeBy).toBe('CN=admin (10.0.0.8)');
  expect(token).not.toHaveProperty('parent');
});
