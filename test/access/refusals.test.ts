import { expect, test } from 'vitest';
import { type Applicant, apiApplicant, Refusals } from '../../src/access/refusals.js';
import { keepLog } from '../support/log-lines.js';

function start() {
  const clock = { now: 1_000_000 };
  const { log, lines } = keepLog();
  const refusals = new Refusals(log, () => clock.now);
  const fail = (applicant: Applicant, times = 1) => {
    for (let i = 0; i < times; i++) refusals.note(applicant, 'tls', { reason: 'r' }, 'refused a client: r');
  };
  return { clock, lines, refusals, fail };
}

const far: Applicant = { over: 'nbd', client: '10.0.0.7:5', origin: '10.0.0.7' };

test('five failures are free, and each further one costs a rest of twice the time, up to a minute', () => {
  const { clock, refusals, fail } = start();
  fail(far, 5);
  expect(refusals.turnsAway(far)).toBe(false);
  for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
    fail(far);
    clock.now += seconds * 1000 - 1;
    expect(refusals.turnsAway(far), `${seconds} s`).toBe(true);
    clock.now += 1;
    expect(refusals.turnsAway(far), `${seconds} s`).toBe(false);
  }
});

test('whoever is turned away does not rest longer for it', () => {
  const { clock, refusals, fail } = start();
  fail(far, 6);
  for (let i = 0; i < 100; i++) expect(refusals.turnsAway(far)).toBe(true);
  clock.now += 1000;
  expect(refusals.turnsAway(far)).toBe(false);
});

test('a minute without a failure, and a success, forgive all', () => {
  const { clock, refusals, fail } = start();
  fail(far, 5);
  clock.now += 61_000;
  fail(far, 5);
  expect(refusals.turnsAway(far)).toBe(false);
  refusals.forgive(far.origin);
  fail(far, 5);
  expect(refusals.turnsAway(far)).toBe(false);
  fail(far);
  expect(refusals.turnsAway(far)).toBe(true);
});

test('a change of the rules forgives all, and keeps the counts', () => {
  const { refusals, fail } = start();
  fail(far, 6);
  refusals.forgiveAll();
  expect(refusals.turnsAway(far)).toBe(false);
  expect(refusals.counts()).toEqual([{ over: 'nbd', reason: 'tls', count: 6 }]);
});

test('others go on, and an origin has one book for NBD and the control API', () => {
  const { refusals, fail } = start();
  fail(far, 6);
  expect(refusals.turnsAway({ ...far, client: '10.0.0.8:5', origin: '10.0.0.8' })).toBe(false);
  expect(refusals.turnsAway(apiApplicant('10.0.0.7'))).toBe(true);
});

test('one address of an IPv6 site stands for all of them', () => {
  const { refusals, fail } = start();
  fail(apiApplicant('2001:db8:1:2::7'), 6);
  expect(refusals.turnsAway(apiApplicant('2001:db8:1:2:ffff::9'))).toBe(true);
  expect(refusals.turnsAway(apiApplicant('2001:db8:1:3::7'))).toBe(false);
});

test.each(['127.0.0.1', '::1', ''])('the address "%s", which many share, never rests', (address) => {
  const { refusals, fail } = start();
  fail(apiApplicant(address), 100);
  expect(refusals.turnsAway(apiApplicant(address))).toBe(false);
});

test('a user of this machine rests alone', () => {
  const { refusals, fail } = start();
  const user = (uid: number): Applicant => ({ over: 'nbd', client: 'unix', origin: `unix:${uid}` });
  fail(user(1000), 6);
  expect([refusals.turnsAway(user(1000)), refusals.turnsAway(user(1001))]).toEqual([true, false]);
});

test('all failures are counted, and logged once a minute for each origin and attempt', () => {
  const { clock, lines, refusals, fail } = start();
  fail(far, 3);
  refusals.note(far, 'rights', { reason: 'r', identity: 'CN=a' }, 'refused export "x": r');
  expect(lines.map(({ level, fields, message }) => [level, fields, message])).toEqual([
    ['warn', { client: '10.0.0.7:5', attempt: 'tls', reason: 'r', sinceLast: 0 }, 'refused a client: r'],
    [
      'warn',
      { client: '10.0.0.7:5', attempt: 'rights', reason: 'r', identity: 'CN=a', sinceLast: 0 },
      'refused export "x": r',
    ],
  ]);
  clock.now += 60_000;
  fail(far);
  expect(lines.at(-1)!.fields).toMatchObject({ attempt: 'tls', sinceLast: 2 });
  expect(refusals.counts()).toEqual([
    { over: 'nbd', reason: 'tls', count: 4 },
    { over: 'nbd', reason: 'rights', count: 1 },
  ]);
});

test('the log says who rests, for how long and why', () => {
  const { lines, refusals, fail } = start();
  fail(far, 6);
  refusals.turnsAway(far);
  expect(lines.slice(1).map(({ message }) => message)).toEqual([
    '10.0.0.7 rests for 1 s after 6 refused attempts',
    'turned a client away: 10.0.0.7 has to rest',
  ]);
  expect(refusals.counts().at(-1)).toEqual({ over: 'nbd', reason: 'resting', count: 1 });
});

test('a flood from many origins takes a bounded amount of memory, and the latest are remembered', () => {
  const { refusals, fail } = start();
  for (let i = 0; i < 10_100; i++) fail({ ...far, origin: `10.1.${i >> 8}.${i & 255}` }, 6);
  const rests = (i: number) => refusals.turnsAway({ ...far, origin: `10.1.${i >> 8}.${i & 255}` });
  expect([rests(0), rests(99), rests(100), rests(10_099)]).toEqual([false, false, true, true]);
});
