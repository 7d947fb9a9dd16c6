import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { GIB, KIB, MIB, TIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { makeImage } from '../support/image.js';
import { inNewerLibnbd, runNewer, startNewerNbdkit, startNewerQemuNbd } from '../support/newer-peers.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemark } from '../support/tidemark.js';

const DIRTY = 'qemu:dirty-bitmap:nightly';

/** As large as some file systems take a file, and too large for lengths of 32 bits. */
const VAST = 8 * TIB;
const MIDDLE = VAST / 2;

/** A server of a vast disk with one written megabyte in the middle. */
async function vastDisk() {
  const image = makeImage(MIB);
  truncateSync(image, VAST);
  const server = await startTidemark(`disk=${image},bitmap=nightly`);
  const uri = server.uri('disk');
  await runNewer('qemu-io', '-f', 'raw', '-c', `write -P 7 ${MIDDLE} 1M`, uri);
  return { server, uri };
}

describe('clients that ask for extended headers', () => {
  test('agree on them', async () => {
    const uri = (await startTidemark(`disk=${makeImage(MIB)},bitmap=nightly`)).uri('disk');
    const facts = JSON.parse(await runNewer('nbdinfo', '--json', uri));
    expect(facts).toMatchObject({ structured: true });
    expect(facts.exports[0].contexts).toEqual(['base:allocation', 'qemu:allocation-depth', DIRTY]);
    const answer = await inNewerLibnbd(
      `
h.connect_uri(sys.argv[1])
print(json.dumps([h.get_extended_headers_negotiated(), h.get_protocol()]))`,
      uri,
    );
    expect(answer).toEqual([true, 'newstyle-fixed']);
  });

  test('are told the status of 8 TiB in one reply, in each context', async () => {
    const { uri } = await vastDisk();
    const map = async (context: string) =>
      (JSON.parse(await runNewer('nbdinfo', '--json', `--map=${context}`, uri)) as Record<string, unknown>[]).map(
        ({ offset, length, description }) => [offset, length, description],
      );
    expect(await map('base:allocation')).toEqual([
      [0, MIDDLE, 'hole,zero'],
      [MIDDLE, MIB, 'data'],
      [MIDDLE + MIB, MIDDLE - MIB, 'hole,zero'],
    ]);
    expect(await map(DIRTY)).toEqual([
      [0, MIDDLE, 'clean'],
      [MIDDLE, MIB, 'dirty'],
      [MIDDLE + MIB, MIDDLE - MIB, 'clean'],
    ]);
    expect(await map('qemu:allocation-depth')).toEqual([[0, VAST, 'local']]);
  });

  test('choose contexts in the payload of a request', async () => {
    const { uri } = await vastDisk();
    const answer = await inNewerLibnbd(
      `
h.add_meta_context("base:allocation")
h.add_meta_context(sys.argv[2])
h.connect_uri(sys.argv[1])
told = []
def note(context, offset, entries, error):
    told.append([context, offset, entries])
h.block_status_filter(h.get_size(), 0, [sys.argv[2]], note)
print(json.dumps([h.can_block_status_payload(), told]))`,
      uri,
      DIRTY,
    );
    const extents = [
      [MIDDLE, 0],
      [MIB, 1],
      [MIDDLE - MIB, 0],
    ];
    expect(answer).toEqual([true, [[DIRTY, 0, extents]]]);
  });

  test('trim and zero more than 4 GiB in one request', async () => {
    const { uri } = await vastDisk();
    const answer = await inNewerLibnbd(
      `
h.connect_uri(sys.argv[1])
h.zero(16 * 2**30, 2**40)
before = h.pread(2**20, 4 * 2**40) == b"\\x07" * 2**20
h.trim(32 * 2**30, 4 * 2**40 - 2**30, nbd.CMD_FLAG_FUA)
print(json.dumps([before, h.pread(2**20, 4 * 2**40) == bytes(2**20)]))`,
      uri,
    );
    expect(answer).toEqual([true, true]);
    const map = JSON.parse(await run('nbdinfo', '--json', `--map=${DIRTY}`, uri)) as { type: number; length: number }[];
    expect(map.reduce((sum, { type, length }) => sum + type * length, 0)).toBe(48 * GIB);
  });

  test('copy a disk there and back, as older ones do', async () => {
    const image = makeImage(32 * MIB);
    const server = await startTidemark(`disk=${image}`);
    const pattern = join(scratchFolder(), 'pattern.img');
    await run('qemu-img', 'create', '-f', 'raw', pattern, '32M');
    await run('qemu-io', '-f', 'raw', '-c', 'write -P 3 1M 5M', '-c', 'write -P 9 20M 64k', pattern);
    await runNewer('nbdcopy', pattern, server.uri('disk'));
    const back = join(scratchFolder(), 'back.qcow2');
    await runNewer('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', server.uri('disk'), back);
    expect(await runNewer('qemu-img', 'compare', pattern, back)).toMatch(/identical/);
    expect(await run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', pattern, server.uri('disk'))).toMatch(
      /identical/,
    );
  });
});

describe("tidemark's own client", () => {
  test('reads, writes and asks for 64-bit ranges of a newer qemu-nbd', async () => {
    const image = makeImage(MIB);
    truncateSync(image, TIB);
    const uri = await startNewerQemuNbd(image, '--format=raw', '--discard=unmap', '--allocation-depth');
    const client = await NbdClient.connect(uri, { contexts: ['base:allocation', 'qemu:allocation-depth'] });
    expect(client.features.blockStatusPayload).toBe(true);
    expect(client.maxRangeBytes).toBeGreaterThan(TIB);
    const data = Buffer.alloc(64 * KIB, 5);
    await client.write(512 * GIB, data, { fua: true });
    await client.trim(512 * GIB + MIB, 300 * GIB);
    expect(await client.read(512 * GIB, 64 * KIB)).toEqual(data);
    const both = await client.blockStatus(0, TIB);
    expect(both.get('base:allocation')).toMatchObject({ lengths: [512 * GIB, 64 * KIB, 512 * GIB - 64 * KIB] });
    const one = await client.blockStatus(0, TIB, { contexts: ['qemu:allocation-depth'] });
    expect([...one]).toMatchObject([['qemu:allocation-depth', { lengths: [TIB], statuses: [1] }]]);
    await client.disconnect();
  });

  test('reads from a newer nbdkit', async () => {
    const client = await NbdClient.connect(await startNewerNbdkit('pattern', '16M'), { contexts: ['base:allocation'] });
    expect((await client.read(4096, 16)).readBigUInt64BE(8)).toBe(4104n);
    expect((await client.blockStatus(0, 16 * MIB)).get('base:allocation')).toMatchObject({ lengths: [16 * MIB] });
    await client.disconnect();
  });
});
