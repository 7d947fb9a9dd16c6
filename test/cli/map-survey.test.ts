import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { layoutMap } from '../../src/cli/map/map-layout.js';
import { collectExtents, surveyExport } from '../../src/cli/map/map-survey.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { DONE, startScriptedServer, statusChunk } from '../support/scripted-server.js';

const DIRTY = 'qemu:dirty-bitmap:nightly';
const BASE = 'base:allocation';

/** A client of a 4 MiB disk whose server returns one extent per request, of at most 1 MiB. */
async function connectTo(extents: readonly { length: number; base: number; dirty: number }[]): Promise<NbdClient> {
  const starts = extents.map((_, index) => extents.slice(0, index).reduce((sum, { length }) => sum + length, 0));
  const target = await startScriptedServer(async (server) => {
    await server.open({ sizeBytes: 4 * MIB, contexts: { [BASE]: 1, [DIRTY]: 2 } });
    for (;;) {
      const { cookie, offset } = await server.request();
      const index = starts.findLastIndex((start) => start <= Number(offset));
      const { length, base, dirty } = extents[index]!;
      const left = Math.min(starts[index]! + length - Number(offset), MIB);
      server.send(statusChunk(cookie, 0, 1, [[left, base]]), statusChunk(cookie, DONE, 2, [[left, dirty]]));
    }
  });
  return NbdClient.connect(target, { contexts: [BASE, DIRTY] });
}

const disk = [
  { length: 2 * KIB, base: 0, dirty: 1 },
  { length: 3 * MIB, base: 0, dirty: 0 },
  { length: MIB - 4 * KIB, base: 3, dirty: 0 },
  { length: 2 * KIB, base: 2, dirty: 1 },
];

test('marked bytes are counted by slice, across the ends of slices and replies', async () => {
  const client = await connectTo(disk);
  const layout = layoutMap(client.sizeBytes, 20);
  expect(layout).toMatchObject({ sliceBytes: 64 * KIB, sliceCount: 64 });
  const [base, dirty] = await surveyExport(client, layout);
  expect(base).toMatchObject({ name: BASE, totalMarkedBytes: 3 * MIB + 4 * KIB, runs: 2 });
  expect([...base!.markedBytes]).toEqual([
    ...Array.from({ length: 48 }, () => 64 * KIB),
    2 * KIB,
    ...Array.from({ length: 14 }, () => 0),
    2 * KIB,
  ]);
  expect(dirty).toMatchObject({ name: DIRTY, totalMarkedBytes: 4 * KIB, runs: 2 });
  expect(dirty!.markedBytes[0]).toBe(2 * KIB);
  expect(dirty!.markedBytes[63]).toBe(2 * KIB);
  await client.disconnect();
});

test('extents are collected with their meaning, and neighbours are merged', async () => {
  const client = await connectTo(disk);
  expect(await collectExtents(client)).toEqual([
    {
      name: BASE,
      extents: [
        { offset: 0, length: 3 * MIB + 2 * KIB, status: 0, description: 'data' },
        { offset: 3 * MIB + 2 * KIB, length: MIB - 4 * KIB, status: 3, description: 'hole,zero' },
        { offset: 4 * MIB - 2 * KIB, length: 2 * KIB, status: 2, description: 'zero' },
      ],
    },
    {
      name: DIRTY,
      extents: [
        { offset: 0, length: 2 * KIB, status: 1, description: 'dirty' },
        { offset: 2 * KIB, length: 4 * MIB - 4 * KIB, status: 0, description: 'clean' },
        { offset: 4 * MIB - 2 * KIB, length: 2 * KIB, status: 1, description: 'dirty' },
      ],
    },
  ]);
  await client.disconnect();
});
