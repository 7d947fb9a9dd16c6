import { expect, test } from 'vitest';
import { chainOf, idsOnWord, restsOnWord } from '../../src/agent/manifest-chain.js';
import type { ImageEntry } from '../../src/agent/manifest-format.js';
import { Random, testSeed } from '../support/random.js';

/** Images with branches, some proven and some with an asserted base. */
function randomEntries(random: Random): ImageEntry[] {
  const sizes = { sizeBytes: 1, dirtyBytes: 1, readBytes: 1, dataBytes: 1, zeroBytes: 0, fileBytes: 1 };
  const facts = {
    takenAt: '2026-11-01T00:00:00Z',
    durationSeconds: 1,
    ...sizes,
    checksum: 'xxh64-sum:0000000000000000',
  };
  return Array.from({ length: 30 }, (_, index): ImageEntry => {
    const base = index === 0 || random.chance(10) ? null : `i${random.chance(5) ? random.below(index) : index - 1}`;
    const trust = {
      ...(random.chance(6) && { proven: true as const }),
      ...(random.chance(6) && { baseAsserted: true as const }),
    };
    return { id: `i${index}`, base, mode: base === null ? 'full' : 'incremental', ...facts, ...trust };
  });
}

test('which images rest on a word is the same for all at once as for each', () => {
  const seeds = new Random(testSeed());
  for (let trial = 0; trial < 50; trial++) {
    const images = randomEntries(new Random(seeds.below(2 ** 31)));
    const each = images.filter((image) => restsOnWord(images, image)).map(({ id }) => id);
    expect([...idsOnWord(images)]).toEqual(each);
  }
});

test('a chain ends at an image that is missing, and at one that it has already', () => {
  const [first, second, third] = randomEntries(new Random(1)) as [ImageEntry, ImageEntry, ImageEntry];
  const line = [first, { ...second, base: 'i0' }, { ...third, base: 'i1' }] as const;
  expect(chainOf(line, line[2])).toEqual({ chain: [line[2], line[1], line[0]] });
  expect(chainOf(line.slice(1), line[2])).toEqual({ chain: [line[2], line[1]], missing: 'i0' });
  const circle = [{ ...first, base: 'i2' }, line[1], line[2]];
  expect(chainOf(circle, line[2])).toEqual({ chain: [line[2], line[1], circle[0]], missing: 'i2' });
});
