import { expect, test } from 'vitest';
import { KIB, TIB } from '../../src/base/units.js';
import { PieceMap } from '../../src/snapshot/piece-map.js';

const PIECE = 4 * KIB;
const processorMilliseconds = () => process.cpuUsage().user / 1000;

test('many short holes are found quickly in a disk of 16 TiB on which every piece is settled', () => {
  const map = new PieceMap(16 * TIB, PIECE);
  map.markHoles(0, map.count);
  const runs = 16_384;
  for (let piece = 1; piece < runs; piece += 2) map.markStored(piece, piece + 1);
  const before = processorMilliseconds();
  const ends: number[] = [];
  for (let at = 0; ends.length < runs; ends.push(at)) at = map.endOfPlace(map.placeAt(at), at, map.sizeBytes);
  // A search to the end of the disk for each hole takes seconds.
  expect(processorMilliseconds() - before).toBeLessThan(300);
  expect(ends).toEqual(Array.from({ length: runs }, (_, run) => (run + 1) * PIECE));
});

test('a long hole ends where a piece is in scratch or unsettled, however far away that is', () => {
  const map = new PieceMap(16 * TIB, PIECE);
  map.markHoles(0, map.count - 5);
  expect(map.endOfPlace('hole', 512, map.sizeBytes)).toBe(map.sizeBytes - 5 * PIECE);
  map.markStored(2 ** 31, 2 ** 31 + 1);
  expect(map.endOfPlace('hole', 512, map.sizeBytes)).toBe(2 ** 31 * PIECE);
  expect(map.endOfPlace('hole', 512, PIECE)).toBe(PIECE);
});
