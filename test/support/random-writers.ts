import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { NbdClient } from '../../src/client/nbd-client.js';
import { changeAtOneInstant } from '../../src/export/cut.js';
import { Random, testSeed } from './random.js';
import type { ThreadServer } from './thread-server.js';

interface RandomWrites {
  readonly writesEach: number;
  /** Of the bitmap "nightly". */
  readonly granularityBytes: number;
}

/**
 * Each client writes at random in a part of the disk of its own, while cuts are made. Expects the disk, its bitmap and its
 * counters to be as a single client would leave them; the disk was empty.
 */
export async function writeAtRandom(server: ThreadServer, clients: readonly NbdClient[], options: RandomWrites) {
  const { writesEach, granularityBytes } = options;
  const { served } = server;
  const seed = testSeed();
  const random = new Random(seed);
  const expected = Buffer.alloc(served.sizeBytes);
  const dirty = new Set<number>();
  const lane = served.sizeBytes / clients.length;
  const work = async (client: NbdClient, index: number) => {
    for (let i = 0; i < writesEach; i++) {
      const length = 512 * (1 + random.below(random.pick([2, 20, 200])));
      const offset = index * lane + 512 * random.below((lane - length) / 512);
      const value = 1 + random.below(255);
      expected.fill(value, offset, offset + length);
      for (let at = offset - (offset % granularityBytes); at < offset + length; at += granularityBytes) dirty.add(at);
      await client.write(offset, Buffer.alloc(length, value));
    }
  };
  const cuts = async () => {
    for (let i = 0; i < 20; i++) {
      await changeAtOneInstant([served], { apply: () => undefined });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  await Promise.all([...clients.map(work), cuts()]);
  expect(readFileSync(server.image).equals(expected), `seed ${seed}`).toBe(true);
  expect(served.getBitmap('nightly').dirtyBytes, `seed ${seed}`).toBe(dirty.size * granularityBytes);
  expect(served.counters().requests).toBe(clients.length * writesEach);
}
