import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { GIB, KIB, MIB } from '../../src/base/units.js';
import { collectExtents } from '../../src/cli/map/map-survey.js';
import { listContexts, listExports } from '../../src/client/listing.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { makeDirtyImage, startNbdkit, startNbdServer, startQemuNbd } from '../support/nbd-peers.js';
import { scratchFolder } from '../support/scratch-folder.js';

const DIRTY = 'qemu:dirty-bitmap:nightly';
const BASE = 'base:allocation';

/** All extents of one context as [offset, length, status]. */
async function extents(client: NbdClient, context: string): Promise<[number, number, number][]> {
  const found = (await collectExtents(client)).find(({ name }) => name === context);
  return found!.extents.map(({ offset, length, status }) => [offset, length, status]);
}

const nbdinfo = (...args: string[]) => JSON.parse(execFileSync('nbdinfo', ['--json', ...args], { encoding: 'utf8' }));

/** Writes many blocks at once, reads them back at once, changes some, and looks again. */
async function exerciseDisk(client: NbdClient): Promise<void> {
  const blockBytes = 64 * KIB;
  const block = (index: number) => Buffer.alloc(blockBytes, index + 1);
  const indexes = Array.from({ length: 64 }, (_, index) => index);
  await Promise.all(indexes.map((index) => client.write(index * blockBytes, block(index))));
  await client.flush();
  const read = await Promise.all(indexes.map((index) => client.read(index * blockBytes, blockBytes)));
  expect(read.map((data, index) => data.equals(block(index)))).not.toContain(false);
  if (client.features.zero) await client.zero(blockBytes, blockBytes, { fua: client.features.fua });
  else await client.write(blockBytes, Buffer.alloc(blockBytes));
  if (client.features.trim) await client.trim(32 * blockBytes, blockBytes);
  if (client.features.cache) await client.cache(0, blockBytes);
  const head = await client.read(0, 3 * blockBytes);
  expect(head.equals(Buffer.concat([block(0), Buffer.alloc(blockBytes), block(2)]))).toBe(true);
}

describe('nbdkit', () => {
  test('serves a disk in memory', async () => {
    const client = await NbdClient.connect(await startNbdkit('memory', '8M'), { contexts: [BASE] });
    expect(client.contexts).toEqual([BASE]);
    await exerciseDisk(client);
    await client.disconnect();
  });

  test('serves without structured replies', async () => {
    const client = await NbdClient.connect(await startNbdkit('--no-sr', 'memory', '8M'), { contexts: [BASE] });
    expect(client.contexts).toEqual([]);
    await exerciseDisk(client);
    await client.disconnect();
  });

  test.each([0, 1, 2])('serves by the plain newstyle handshake, with flags %i', async (mask) => {
    const uri = await startNbdkit(`--mask-handshake=${mask}`, 'memory', '8M');
    const client = await NbdClient.connect(uri);
    await exerciseDisk(client);
    await client.disconnect();
  });

  test('is refused when it speaks only the oldstyle handshake', async () => {
    await expect(NbdClient.connect(await startNbdkit('--oldstyle', 'memory', '8M'))).rejects.toThrow(/oldstyle/);
  });

  test('reports where a sparse disk of 8 GiB has data', async () => {
    const uri = await startNbdkit('data', `@${64 * KIB} 1*${64 * KIB} @${5 * GIB} 2*4096`, `size=${8 * GIB}`);
    const client = await NbdClient.connect(uri, { contexts: [BASE] });
    const data = (await extents(client, BASE)).filter(([, , status]) => status === 0);
    expect(data.map(([offset]) => offset)).toEqual([64 * KIB, 5 * GIB].map((at) => at - (at % (32 * KIB))));
    expect(await extents(client, BASE)).toEqual(
      nbdinfo('--map', uri).map((one: { offset: number; length: number; type: number }) => [
        one.offset,
        one.length,
        one.type,
      ]),
    );
    expect(await client.read(5 * GIB, 4096)).toEqual(Buffer.alloc(4096, 2));
    expect((await client.read(GIB, 4 * MIB)).equals(Buffer.alloc(4 * MIB))).toBe(true);
    await client.disconnect();
  });

  test('fails a request with its reason, and serves the next one', async () => {
    const client = await NbdClient.connect(
      await startNbdkit('--filter=error', 'memory', '8M', 'error-pread=ENOSPC', 'error-pread-rate=100%'),
    );
    await expect(client.read(0, 4096)).rejects.toMatchObject({ code: 'ENOSPC' });
    await client.write(0, Buffer.alloc(4096, 1));
    await client.disconnect();
  });

  test('enforces its block sizes', async () => {
    const client = await NbdClient.connect(
      await startNbdkit(
        '--filter=blocksize-policy',
        'memory',
        '8M',
        'blocksize-minimum=4096',
        'blocksize-preferred=65536',
        'blocksize-maximum=1M',
        'blocksize-error-policy=error',
      ),
    );
    expect(client.blockSizes).toEqual({ minimum: 4096, preferred: 65536, maximum: MIB });
    await expect(client.read(512, 512)).rejects.toMatchObject({ code: 'EINVAL' });
    await client.disconnect();
  });

  test('lists its exports and their contexts', async () => {
    const uri = await startNbdkit('memory', '8M');
    expect(await listExports(uri)).toEqual([{ exportName: '', description: '' }]);
    expect(await listContexts(uri)).toEqual([BASE]);
  });

  test('serves the same disk to several connections', async () => {
    const uri = await startNbdkit('memory', '8M');
    const clients = await Promise.all(Array.from({ length: 4 }, () => NbdClient.connect(uri)));
    await Promise.all(clients.map((client, index) => client.write(index * MIB, Buffer.alloc(MIB, index + 1))));
    const seen = await clients[0]!.read(0, 4 * MIB);
    expect(seen.equals(Buffer.concat([1, 2, 3, 4].map((value) => Buffer.alloc(MIB, value))))).toBe(true);
    await Promise.all(clients.map((client) => client.disconnect()));
  });
});

describe('qemu-nbd', () => {
  test('serves a disk', async () => {
    const image = makeDirtyImage([]);
    const client = await NbdClient.connect(await startQemuNbd(image.path, '--format=qcow2'), { contexts: [BASE] });
    await exerciseDisk(client);
    await client.disconnect();
  });

  test('reports only the written granules of a persistent bitmap', async () => {
    const image = makeDirtyImage([
      { offset: 0, length: 4096, pattern: 1 },
      { offset: MIB - 512, length: 1024, pattern: 2 },
      { offset: 16 * MIB - 4096, length: 4096, pattern: 3 },
    ]);
    const uri = await startQemuNbd(image.path, '--format=qcow2', '--read-only', `--bitmap=${image.bitmap}`);
    expect(await listContexts(uri)).toEqual([BASE, DIRTY]);
    expect(await listContexts(uri, ['qemu:dirty-bitmap:'])).toEqual([DIRTY]);
    const client = await NbdClient.connect(uri, { contexts: [BASE, DIRTY] });
    expect(client.features).toMatchObject({ readOnly: true, multiConn: true });
    const dirty = (await extents(client, DIRTY)).filter(([, , status]) => status === 1);
    const granule = 64 * KIB;
    expect(dirty).toEqual([
      [0, granule, 1],
      [MIB - granule, 2 * granule, 1],
      [16 * MIB - granule, granule, 1],
    ]);
    expect((await extents(client, BASE)).filter(([, , status]) => status === 0)).toEqual([
      [0, 4096, 0],
      [MIB - 4096, 8192, 0],
      [16 * MIB - 4096, 4096, 0],
    ]);
    expect(await client.read(MIB - 512, 1024)).toEqual(Buffer.alloc(1024, 2));
    await client.disconnect();
  });

  test('refuses an export that it does not have, by name', async () => {
    const uri = await startQemuNbd(makeDirtyImage([]).path, '--format=qcow2', '--export-name=disk');
    const wrong = uri.replace('///', '///other');
    await expect(NbdClient.connect(wrong)).rejects.toThrow(/the server refused the export "other": UNKNOWN/);
    expect(await listExports(uri)).toEqual([{ exportName: 'disk', description: '' }]);
  });
});

test('nbd-server serves a disk over TCP', async () => {
  const path = join(scratchFolder(), 'disk.raw');
  writeFileSync(path, Buffer.alloc(8 * MIB));
  const uri = await startNbdServer(path);
  expect(await listExports(uri)).toEqual([{ exportName: 'disk', description: '' }]);
  const client = await NbdClient.connect(uri, { contexts: [BASE] });
  await exerciseDisk(client);
  await client.disconnect();
});
