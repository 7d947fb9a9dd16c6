import { expect, test } from 'vitest';
import { type Guest, makeRoom } from '../../src/server/make-room.js';

const MAX = 32;
/** An eighth. */
const MOST_IDLE = 4;
const NOW = 100_000;

function guests(count: number, origin: string, facts: Partial<Guest> = {}) {
  const cut: number[] = [];
  const all = new Set<Guest>();
  for (let i = 0; i < count; i++) {
    all.add({
      ...{ origin, connectedAtMilliseconds: i, undecided: true, giveWay: () => void cut.push(i) },
      ...facts,
    });
  }
  return { all, cut };
}

test('idle handshakes of one address may fill only part of the table; then the oldest is disconnected', () => {
  const { all, cut } = guests(MOST_IDLE, 'here');
  expect(makeRoom(all, 'here', MAX, NOW)).toBe(true);
  expect([cut, all.size]).toEqual([[0], MOST_IDLE - 1]);
});

test.each([
  ['of another address', {}, 'elsewhere'],
  ['that have just begun', { connectedAtMilliseconds: NOW - 500 }, 'here'],
  ['that are over, because an export is chosen', { undecided: false }, 'here'],
])('handshakes %s are kept while there is room', (_which, facts, origin) => {
  const { all, cut } = guests(MAX - 1, 'here', facts);
  expect(makeRoom(all, origin, MAX, NOW)).toBe(true);
  expect(cut).toEqual([]);
});

test('when the table is full, the oldest handshake is disconnected, whatever its address and age', () => {
  const { all, cut } = guests(MAX, 'here', { connectedAtMilliseconds: NOW });
  expect(makeRoom(all, 'elsewhere', MAX, NOW)).toBe(true);
  expect([cut, all.size]).toEqual([[0], MAX - 1]);
});

test('clients that have chosen an export are never disconnected', () => {
  const { all, cut } = guests(MAX, 'here', { undecided: false });
  expect(makeRoom(all, 'here', MAX, NOW)).toBe(false);
  expect(cut).toEqual([]);
});

test('a table for one client has room for one client', () => {
  const { all, cut } = guests(1, 'here', { connectedAtMilliseconds: NOW });
  expect(makeRoom(all, 'here', 1, NOW)).toBe(true);
  expect(cut).toEqual([0]);
});
