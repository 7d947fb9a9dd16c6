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

test('idle handshakes of one address hold a part of the table, and the oldest gives way', () => {
  const { all, cut } = guests(MOST_IDLE, 'here');
  expect(makeRoom(all, 'here', MAX, NOW)).toBe(true);
  expect([cut, all.size]).toEqual([[0], MOST_IDLE - 1]);
});

test.each([
  ['of another address', {}, 'elsewhere'],
  ['that have just begun', { connectedAtMilliseconds: NOW - 500 }, 'here'],
  ['that are over, because an export is chosen', { undecided: false }, 'here'],
])('handshakes %s do not give way while there is room', (_which, facts, origin) => {
  const { all, cut } = guests(MAX - 1, 'here', facts);
  expect(makeRoom(all, origin, MAX, NOW)).toBe(true);
  expect(cut).toEqual([]);
});

test('when the table is full the oldest handshake gives way, wherever it comes from and however young', () => {
  const { all, cut } = guests(MAX, 'here', { connectedAtMilliseconds: NOW });
  expect(makeRoom(all, 'elsewhere', MAX, NOW)).toBe(true);
  expect([cut, all.size]).toEqual([[0], MAX - 1]);
});

test('clients that have chosen an export never give way', () => {
  const { all, cut } = guests(MAX, 'here', { undecided: false });
  expect(makeRoom(all, 'here', MAX, NOW)).toBe(false);
  expect(cut).toEqual([]);
});

test('there is room for one client even where one is all', () => {
  const { all, cut } = guests(1, 'here', { connectedAtMilliseconds: NOW });
  expect(makeRoom(all, 'here', 1, NOW)).toBe(true);
  expect(cut).toEqual([0]);
});
