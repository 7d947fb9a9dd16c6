import { readdirSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type RestoreRequest, restore } from '../../src/agent/restore.js';
import { verify } from '../../src/agent/verify.js';
import { CodedError } from '../../src/base/coded-error.js';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, startMemoryServer } from '../support/memory-server.js';
import { startNbdkit } from '../support/nbd-peers.js';
import { diskWith, pullScene, quiet } from '../support/pull-scene.js';
import { checksumByHand } from '../support/qcow2-files.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** A chain of two images, and the contents of the disk at each. */
async function chainOfTwo() {
  const scene = await pullScene();
  await scene.write(MIB, MIB, 1);
  const { id: first } = await scene.pull();
  await scene.write(MIB + 512, 64 * KIB, 2);
  const { id: second } = await scene.pull();
  const restoreTo = (to: string, change: Partial<RestoreRequest> = {}) =>
    restore({
      ...{ directory: scene.directory, exportName: 'disk', at: undefined, to, force: false, check: true },
      ...{ ...quiet, ...change },
    });
  const disks = { first: diskWith([MIB, MIB, 1]), second: diskWith([MIB, MIB, 1], [MIB + 512, 64 * KIB, 2]) };
  const pathOf = (id: string) => join(scene.folder, `${id}.qcow2`);
  return { ...scene, first, second, restoreTo, disks, pathOf };
}

/** A server to restore to, whose disk is full of other data. */
async function startTarget(sizeBytes: number, readOnly = false) {
  const device = new MemoryDevice(sizeBytes);
  const server = await startMemoryServer([{ name: 'target', device, readOnly }]);
  const uri = `nbd+unix:///target?socket=${server.path}`;
  if (!readOnly) {
    const client = await NbdClient.connect(uri);
    await client.write(0, Buffer.alloc(sizeBytes, 0xee));
    await client.disconnect();
  }
  return {
    uri,
    async content(): Promise<Buffer> {
      const client = await NbdClient.connect(uri);
      const content = await client.read(0, sizeBytes);
      await client.disconnect();
      return content;
    },
  };
}

test('the file equals the disk of that time, is sparse, and has its full size', async () => {
  const { restoreTo, first, disks } = await chainOfTwo();
  const folder = scratchFolder();
  const [newest, older] = [join(folder, 'a.img'), join(folder, 'b.img')];
  expect(await restoreTo(newest)).toMatchObject({ sizeBytes: DISK_BYTES, to: newest });
  await restoreTo(older, { at: first });
  expect(readFileSync(newest).equals(disks.second)).toBe(true);
  expect(readFileSync(older).equals(disks.first)).toBe(true);
  expect(statSync(newest).blocks * 512).toBeLessThan(2 * MIB);
  expect(readdirSync(folder).sort()).toEqual(['a.img', 'b.img']);
});

test('an existing file is overwritten only with force', async () => {
  const { restoreTo, disks } = await chainOfTwo();
  const path = join(scratchFolder(), 'a.img');
  writeFileSync(path, 'precious');
  await expect(restoreTo(path)).rejects.toThrow(/is there already/);
  expect(readFileSync(path, 'utf8')).toBe('precious');
  await restoreTo(path, { force: true });
  expect(readFileSync(path).equals(disks.second)).toBe(true);
});

test('an NBD export gets the whole disk, including zeroes', async () => {
  const { restoreTo, disks } = await chainOfTwo();
  const target = await startTarget(DISK_BYTES);
  await restoreTo(target.uri);
  expect((await target.content()).equals(disks.second)).toBe(true);
});

test('an NBD export that is too small, or read-only, is refused before anything is written', async () => {
  const { restoreTo } = await chainOfTwo();
  const small = await startTarget(DISK_BYTES / 2);
  await expect(restoreTo(small.uri)).rejects.toThrow(/has 2097152 bytes, and the disk 4194304/);
  expect((await small.content()).equals(Buffer.alloc(DISK_BYTES / 2, 0xee))).toBe(true);
  await expect(restoreTo((await startTarget(DISK_BYTES, true)).uri)).rejects.toThrow(/is read-only/);
});

test('a missing export or restore point is refused, with a list of those there are', async () => {
  const { restoreTo, first, second } = await chainOfTwo();
  const to = join(scratchFolder(), 'a.img');
  await expect(restoreTo(to, { exportName: 'other' })).rejects.toThrow(/has no backup of "other"/);
  await expect(restoreTo(to, { at: '20200101-000000-none' })).rejects.toMatchObject({
    message: expect.stringContaining('has no backup 20200101-000000-none of "disk"'),
    hint: `it has ${first}, ${second}`,
  });
  await expect(restoreTo(join(scratchFolder(), 'no/such/folder.img'))).rejects.toThrow(
    /^there is no folder .*\/no\/such$/,
  );
});

test('an interrupted restore leaves no file', async () => {
  const { restoreTo } = await chainOfTwo();
  const folder = scratchFolder();
  const controller = new AbortController();
  controller.abort();
  await expect(restoreTo(join(folder, 'a.img'), { signal: controller.signal })).rejects.toThrow(/^interrupted/);
  expect(readdirSync(folder)).toEqual([]);
});

/** Ways to damage the lower image of a chain, and how the damage is reported. */
const harms: [string, (path: string) => void][] = [
  ['the file is missing', (path) => renameSync(path, `${path}.away`)],
  ['bytes instead of', (path) => truncateSync(path, 128 * KIB)],
  // Data that the upper image hides, data that it shows, and the header.
  ['the file has the checksum', (path) => flipBit(path, 80 * KIB)],
  ['the file has the checksum', (path) => flipBit(path, 400 * KIB)],
  ['the file has the checksum', (path) => flipBit(path, 0)],
];

function flipBit(path: string, at: number): void {
  const content = readFileSync(path);
  content[at] = content[at]! ^ 1;
  writeFileSync(path, content);
}

describe.each(harms)('when an image is damaged ("%s")', (what, harm) => {
  test('verify says which restore points are good', async () => {
    const { directory, pathOf, first, second, pull } = await chainOfTwo();
    const { id: third } = await pull({ full: true });
    harm(pathOf(first));
    const { exports } = await verify(directory, quiet);
    const points = Object.fromEntries(exports[0]!.points.map(({ id, problem }) => [id, problem]));
    expect(points[first]).toContain(what);
    expect(points).toMatchObject({ [second]: `needs ${first}, which is not good`, [third]: null });
  });

  test.each([undefined, 0])(
    'a restore fails, and leaves no file (threads from %s bytes on)',
    async (worthThreadsBytes) => {
      const { restoreTo, pathOf, first, second } = await chainOfTwo();
      harm(pathOf(first));
      const folder = scratchFolder();
      const restoring = restoreTo(join(folder, 'a.img'), { worthThreadsBytes });
      await expect(restoring).rejects.toThrow(`backup ${second} is not good: ${pathOf(first)}: `);
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  test('a file that would be overwritten stays as it was', async () => {
    const { restoreTo, pathOf, first } = await chainOfTwo();
    harm(pathOf(first));
    const path = join(scratchFolder(), 'a.img');
    writeFileSync(path, 'precious');
    await expect(restoreTo(path, { force: true })).rejects.toThrow('is not good');
    expect(readFileSync(path, 'utf8')).toBe('precious');
  });

  test('nothing is written to an NBD export', async () => {
    const { restoreTo, pathOf, first } = await chainOfTwo();
    harm(pathOf(first));
    const target = await startTarget(DISK_BYTES);
    await expect(restoreTo(target.uri)).rejects.toThrow('is not good');
    expect((await target.content()).equals(Buffer.alloc(DISK_BYTES, 0xee))).toBe(true);
  });
});

test('a restore without checks uses a damaged image if its tables are good', async () => {
  const { restoreTo, pathOf, second, disks } = await chainOfTwo();
  flipBit(pathOf(second), 640 * KIB);
  const path = join(scratchFolder(), 'a.img');
  await restoreTo(path, { check: false });
  const different = readFileSync(path).filter((byte, at) => byte !== disks.second[at]);
  expect(different).toHaveLength(1);
});

test('a wrong table is found even if the checksum matches', async () => {
  const { directory, folder, pathOf, second } = await chainOfTwo();
  const content = readFileSync(pathOf(second));
  // The first entry of the L1 table now points to a cluster of data instead of the L2 table.
  const l1Offset = Number(content.readBigUInt64BE(40));
  content.writeBigUInt64BE(content.readBigUInt64BE(l1Offset) - 65536n, l1Offset);
  writeFileSync(pathOf(second), content);
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
  manifest.images[1].checksum = await checksumByHand(pathOf(second));
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
  const { exports } = await verify(directory, quiet);
  expect(exports[0]!.points[1]!.problem).not.toBeNull();
});

test('verify reports a directory without backups', async () => {
  await expect(verify('/no/such/directory', quiet)).rejects.toThrow('there is no folder /no/such/directory');
  await expect(verify(scratchFolder(), quiet)).rejects.toThrow(/has no backups/);
});

test('a restore sends no longer writes than the server accepts', async () => {
  const { restoreTo, disks } = await chainOfTwo();
  const path = join(scratchFolder(), 'target.img');
  writeFileSync(path, Buffer.alloc(DISK_BYTES, 0xee));
  const policy = ['blocksize-minimum=1', 'blocksize-preferred=4096', 'blocksize-maximum=65536'];
  const uri = await startNbdkit(
    '--filter=blocksize-policy',
    '--filter=nozero',
    'file',
    path,
    ...policy,
    'zeromode=none',
  );
  await restoreTo(uri);
  expect(readFileSync(path).equals(disks.second)).toBe(true);
});

test('only files and block devices that are not in use are overwritten', async () => {
  const { restoreTo } = await chainOfTwo();
  const force = { force: true };
  await expect(restoreTo('/dev/null', force)).rejects.toThrow('/dev/null is neither a file nor a block device');
  await expect(restoreTo(scratchFolder(), force)).rejects.toThrow('is neither a file nor a block device');
  const path = join(scratchFolder(), 'disk.img');
  writeFileSync(path, 'precious');
  const checkUnused = async () => {
    throw new CodedError('IMAGE_LOCKED', 'another process uses it');
  };
  await expect(restoreTo(path, { ...force, checkUnused })).rejects.toThrow('another process uses it');
  expect(readFileSync(path, 'utf8')).toBe('precious');
  await restoreTo(path, force);
  expect(statSync(path)).toMatchObject({ size: DISK_BYTES });
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('an interrupted verify says so', async () => {
  const { directory } = await chainOfTwo();
  const signal = AbortSignal.abort(new Error('interrupted'));
  await expect(verify(directory, { ...quiet, signal })).rejects.toThrow(/^interrupted: /);
});

test('a restore fails if an image changes after it was checked', async () => {
  const { restoreTo, pathOf, first } = await chainOfTwo();
  const folder = scratchFolder();
  const onProgress = () => flipBit(pathOf(first), 80 * KIB);
  await expect(restoreTo(join(folder, 'a.img'), { onProgress })).rejects.toThrow(
    `${pathOf(first)} was changed while it was being restored`,
  );
  expect(readdirSync(folder)).toEqual([]);
});
