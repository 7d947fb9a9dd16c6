import { describe, expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { renderMap } from '../../src/cli/map/map.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import type { NbdTarget } from '../../src/client/nbd-uri.js';
import { type MemoryExport, startMemoryServer } from '../support/memory-server.js';
import { optionReply, startScriptedServer } from '../support/scripted-server.js';

const screen = { columns: 80, colours: false };
const BASE = 'base:allocation';
const DIRTY = 'qemu:dirty-bitmap:nightly';

/** A served 4 MiB disk with a bitmap. The second MiB and 512 more bytes have been written. */
async function writtenExport(served: MemoryExport = { name: 'demo', bitmaps: ['nightly'] }): Promise<NbdTarget> {
  const { path } = await startMemoryServer([served]);
  const target = { address: { socketPath: path }, exportName: served.name };
  const client = await NbdClient.connect(target);
  await client.write(MIB, Buffer.alloc(MIB, 1));
  await client.write(3 * MIB, Buffer.alloc(512, 1));
  await client.disconnect();
  return target;
}

describe('the map of an export', () => {
  test('draws allocation and every dirty bitmap', async () => {
    const drawn = await renderMap(await writtenExport(), {}, screen);
    expect(drawn).toContain('demo: 4 MiB, one character is 8 KiB\n');
    expect(drawn).toContain(`${BASE}: 1.1 MiB allocated, 26.6 %, in 2 extents\n`);
    expect(drawn).toContain(`${DIRTY}: 1.1 MiB dirty, 26.6 %, in 2 extents\n`);
    expect(drawn).toContain(`     1 MiB  ${'█'.repeat(64)}\n   1536 KiB  ${'█'.repeat(64)}`.replace('\n ', '\n'));
  });

  test.each([DIRTY, 'nightly'])('draws only the context %s if asked to', async (context) => {
    const drawn = await renderMap(await writtenExport(), { context }, screen);
    expect(drawn).toContain(DIRTY);
    expect(drawn).not.toContain(BASE);
  });

  test('lists the extents with their meaning as JSON', async () => {
    const json = JSON.parse(await renderMap(await writtenExport(), { context: DIRTY, json: true }, screen));
    const granule = 64 * KIB;
    expect(json).toEqual({
      export: 'demo',
      sizeBytes: 4 * MIB,
      contexts: [
        {
          name: DIRTY,
          extents: [
            { offset: 0, length: MIB, status: 0, description: 'clean' },
            { offset: MIB, length: MIB, status: 1, description: 'dirty' },
            { offset: 2 * MIB, length: MIB, status: 0, description: 'clean' },
            { offset: 3 * MIB, length: granule, status: 1, description: 'dirty' },
            { offset: 3 * MIB + granule, length: MIB - granule, status: 0, description: 'clean' },
          ],
        },
      ],
    });
  });

  test('lists allocation and every dirty bitmap as JSON', async () => {
    const target = await writtenExport({ name: 'demo', bitmaps: ['nightly', 'weekly'] });
    const { contexts } = JSON.parse(await renderMap(target, { json: true }, screen));
    expect(contexts.map(({ name }: { name: string }) => name)).toEqual([BASE, DIRTY, 'qemu:dirty-bitmap:weekly']);
  });

  test('is refused for a missing context, with a list of those there are', async () => {
    await expect(renderMap(await writtenExport(), { context: 'weekly' }, screen)).rejects.toMatchObject({
      message: 'the export "demo" has no metadata context "weekly"',
      hint: `it has ${BASE}, qemu:allocation-depth, ${DIRTY}`,
    });
  });

  test('is refused if the server offers no contexts to draw', async () => {
    const target = await startScriptedServer(async (server) => {
      await server.greet();
      for (;;) server.send(optionReply((await server.option()).option, 2 ** 31 + 1));
    });
    await expect(renderMap(target, {}, screen)).rejects.toThrow(
      /neither allocation nor dirty bitmaps for the export "disk"/,
    );
  });

  test('is refused if the server withholds a context that it offered', async () => {
    const target = await startScriptedServer(async (server) => {
      await server.greet();
      for (;;) {
        const { option } = await server.option();
        if (option === 9) server.send(optionReply(option, 4, Buffer.from(`\0\0\0\0${BASE}`)));
        if (option === 7) server.send(optionReply(option, 3, Buffer.from('000000000000001000000001', 'hex')));
        server.send(optionReply(option, 1));
      }
    });
    await expect(renderMap(target, {}, screen)).rejects.toThrow('the export "disk" no longer has "base:allocation"');
  });
});
