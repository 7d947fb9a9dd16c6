import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { NoAnswerError } from '../../src/agent/backup-service.js';
import { prune } from '../../src/agent/prune.js';
import { type RepairedExport, repair } from '../../src/agent/repair.js';
import { restore } from '../../src/agent/restore.js';
import { verify } from '../../src/agent/verify.js';
import { MIB } from '../../src/base/units.js';
import { diskWith, manifestOf, pullScene, quiet } from '../support/pull-scene.js';
import { writeImage } from '../support/qcow2-files.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** Two chains of two restore points each. */
async function repairScene() {
  const scene = await pullScene();
  const ids: string[] = [];
  for (const [index, full] of [true, false, true, false].entries()) {
    await scene.write(index * MIB, MIB, index + 1);
    ids.push((await scene.pull({ full })).id);
  }
  const { folder, directory } = scene;
  const manifestPath = join(folder, 'manifest.json');
  const pathOf = (id: string) => join(folder, `${id}.qcow2`);
  const images = () => ids.map((id) => readFileSync(pathOf(id)));
  const mend = async (change: { dryRun?: boolean; exportName?: string } = {}): Promise<RepairedExport> => {
    const before = new Map(readdirSync(folder).map((name) => [name, statSync(join(folder, name)).mtimeMs]));
    const [result] = await repair(directory, { exportName: undefined, dryRun: false, ...quiet, ...change });
    for (const [name, time] of before) {
      if (name.endsWith('.qcow2')) expect(statSync(join(folder, name)).mtimeMs, name).toBe(time);
    }
    return result!;
  };
  return { ...scene, ids, manifestPath, pathOf, images, mend };
}

function flip(path: string, at: number): void {
  const content = readFileSync(path);
  content[at] = content[at]! ^ 1;
  writeFileSync(path, content);
}

describe('a manifest that is', () => {
  test.each([
    { state: 'lost', harm: (path: string) => rmSync(path) },
    { state: 'damaged', harm: (path: string) => writeFileSync(path, readFileSync(path).subarray(0, 100)) },
    { state: 'damaged', harm: (path: string) => writeFileSync(path, '') },
  ])('$state is restored exactly', async ({ state, harm }) => {
    const { manifestPath, mend, folder, ids, pull, restored, write } = await repairScene();
    const before = manifestOf(folder);
    harm(manifestPath);
    const harmed = state === 'damaged' ? readFileSync(manifestPath) : undefined;
    expect(await mend()).toMatchObject({
      ...{ export: 'disk', manifest: state, changed: true, leftOut: [], gone: [], problem: null },
      points: ids.map((id) => ({ id, problem: null, measured: false })),
    });
    expect(manifestOf(folder)).toEqual(before);
    const aside = readdirSync(folder).filter((name) => name.startsWith('manifest.json.damaged-'));
    expect(aside.map((name) => readFileSync(join(folder, name)))).toEqual(harmed ? [harmed] : []);

    await write(0, 512, 9);
    const next = await pull();
    expect(next.images[0]).toMatchObject({ mode: 'incremental', base: ids.at(-1) });
    const expected = diskWith([0, MIB, 1], [MIB, MIB, 2], [2 * MIB, MIB, 3], [3 * MIB, MIB, 4], [0, 512, 9]);
    expect((await restored()).equals(expected)).toBe(true);
  });

  test('good is left unchanged', async () => {
    const { manifestPath, mend } = await repairScene();
    const before = statSync(manifestPath);
    expect(await mend()).toMatchObject({ manifest: 'good', changed: false });
    expect(statSync(manifestPath).ino).toBe(before.ino);
  });

  test('of another version is left unchanged', async () => {
    const { manifestPath, mend } = await repairScene();
    const text = '{"format": 99, "export": "disk"}';
    writeFileSync(manifestPath, text);
    expect(await mend()).toMatchObject({ changed: false, problem: expect.stringContaining('is no manifest') });
    expect(readFileSync(manifestPath, 'utf8')).toBe(text);
  });

  test('older than the images is completed, and keeps what it records about them', async () => {
    const { manifestPath, mend, folder, ids, pathOf, directory } = await repairScene();
    renameSync(pathOf(ids[0]!), `${pathOf(ids[0]!)}.away`);
    await verify(directory, quiet);
    renameSync(`${pathOf(ids[0]!)}.away`, pathOf(ids[0]!));
    const before = manifestOf(folder);
    expect(before.images[0].damage).toBeDefined();
    writeFileSync(manifestPath, JSON.stringify({ ...before, images: before.images.slice(0, 2) }));
    expect(await mend()).toMatchObject({ manifest: 'good', changed: true });
    // When an image was checked is in the manifest only.
    const images = before.images.map(({ checkedAt, ...image }: { checkedAt?: string }, i: number) => ({
      ...image,
      ...(i < 2 && checkedAt !== undefined && { checkedAt }),
    }));
    expect(manifestOf(folder)).toEqual({ ...before, images });
  });

  test('from before a prune is brought up to date', async () => {
    const { manifestPath, mend, folder, ids, directory } = await repairScene();
    const stale = readFileSync(manifestPath);
    await prune(directory, { policy: { last: 1 }, ...quiet });
    const pruned = manifestOf(folder);
    writeFileSync(manifestPath, stale);
    expect(await mend()).toMatchObject({ changed: true, gone: ids.slice(0, 3) });
    expect(manifestOf(folder)).toEqual(pruned);
  });
});

test('QEMU accepts an image with its own entry, and keeps the entry when it writes the header', async () => {
  const { ids, pathOf, folder } = await repairScene();
  const [first, second] = [pathOf(ids[0]!), pathOf(ids[1]!)];
  for (const path of [first, second]) {
    const check = JSON.parse(await run('qemu-img', 'check', '--output=json', '-f', 'qcow2', path));
    expect(check).toMatchObject({ 'check-errors': 0 });
    expect([check.leaks ?? 0, check.corruptions ?? 0]).toEqual([0, 0]);
  }
  const info = JSON.parse(await run('qemu-img', 'info', '--output=json', second));
  expect(info).toMatchObject({ format: 'qcow2', 'virtual-size': 4 * MIB, 'backing-filename': `${ids[0]}.qcow2` });
  // By hand, from docs/interop/qcow2.txt: extensions begin behind the header, each with a type and a length.
  const entry = ownEntryByHand(readFileSync(second));
  const { checksum: _, ...listed } = manifestOf(folder).images[1];
  expect(entry).toEqual({ export: 'disk', bodyChecksum: expect.stringMatching(/^xxh64-sum:/), entry: listed });
  const copy = join(scratchFolder(), 'copy.qcow2');
  writeFileSync(copy, readFileSync(second));
  await run('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b', '', copy);
  expect(ownEntryByHand(readFileSync(copy))).toEqual(entry);
});

/** The JSON text in the extension of the type `Tdmk`, behind 8 bytes. */
function ownEntryByHand(image: Buffer): unknown {
  for (let at = image.readUInt32BE(100); image.readUInt32BE(at) !== 0; ) {
    const length = image.readUInt32BE(at + 4);
    const data = image.subarray(at + 8, at + 8 + length);
    if (image.toString('latin1', at, at + 4) === 'Tdmk') return JSON.parse(data.toString('utf8', 8));
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return undefined;
}

test('a merged image carries its own entry too', async () => {
  const { manifestPath, mend, folder, directory } = await repairScene();
  await prune(directory, { policy: { last: 1 }, ...quiet });
  const before = manifestOf(folder);
  rmSync(manifestPath);
  await mend();
  expect(manifestOf(folder)).toEqual(before);
});

test('nothing is written with dryRun', async () => {
  const { manifestPath, mend, folder, ids } = await repairScene();
  writeFileSync(manifestPath, 'nonsense');
  const before = readdirSync(folder);
  const result = await mend({ dryRun: true });
  expect(result).toMatchObject({ manifest: 'damaged', changed: true });
  expect(result.points.map(({ id }) => id)).toEqual(ids);
  expect(readdirSync(folder)).toEqual(before);
  expect(readFileSync(manifestPath, 'utf8')).toBe('nonsense');
});

test('a single export can be repaired', async () => {
  const { directory, manifestPath, mend } = await repairScene();
  mkdirSync(join(directory, 'other'));
  writeFileSync(join(directory, 'other', 'manifest.json'), 'nonsense');
  rmSync(manifestPath);
  expect(await mend({ exportName: 'disk' })).toMatchObject({ export: 'disk', changed: true });
  expect(readFileSync(join(directory, 'other', 'manifest.json'), 'utf8')).toBe('nonsense');
  await expect(mend({ exportName: 'vm9' })).rejects.toThrow(/has no backup of "vm9"/);
});

describe('images that do not fit together do not become a chain', () => {
  test('an image whose base is missing is left out', async () => {
    const { manifestPath, mend, ids, pathOf, folder } = await repairScene();
    rmSync(manifestPath);
    rmSync(pathOf(ids[0]!));
    const reason = `needs ${ids[0]}, which is missing`;
    expect((await mend()).leftOut).toEqual([{ file: `${ids[1]}.qcow2`, reason }]);
    expect(manifestOf(folder).images.map(({ id }: { id: string }) => id)).toEqual(ids.slice(2));
  });

  test('an image with damaged data is reported as damaged, and no pull builds on it', async () => {
    const { manifestPath, mend, ids, pathOf, pull, directory } = await repairScene();
    rmSync(manifestPath);
    flip(pathOf(ids[2]!), 70_000);
    const { points } = await mend();
    expect(points.map(({ problem }) => problem)).toEqual([null, null, expect.stringContaining('the checksum'), null]);
    const { exports } = await verify(directory, quiet);
    expect(exports[0]!.points[3]!.problem).toContain(`needs ${ids[2]}`);
    expect((await pull()).images[0]).toMatchObject({ mode: 'full', fullReason: { code: 'chain-damaged' } });
  });

  test.each([
    ['its header', 30],
    ['its own entry', 200],
    ['the empty end of its first cluster', 60_000],
  ])('an image is left out when %s is damaged', async (_, at) => {
    const { manifestPath, mend, ids, pathOf } = await repairScene();
    rmSync(manifestPath);
    flip(pathOf(ids[3]!), at);
    const { leftOut, points } = await mend();
    expect(leftOut).toEqual([{ file: `${ids[3]}.qcow2`, reason: expect.any(String) }]);
    expect(points.map(({ id }) => id)).toEqual(ids.slice(0, 3));
  });

  test('an image with the name of another is left out', async () => {
    const { manifestPath, mend, ids, pathOf } = await repairScene();
    rmSync(manifestPath);
    renameSync(pathOf(ids[3]!), pathOf('20990101-000000-else'));
    const reason = `it says of itself that it is ${ids[3]}`;
    expect((await mend()).leftOut).toEqual([{ file: '20990101-000000-else.qcow2', reason }]);
  });

  test('an image of another export is left out', async () => {
    const { manifestPath, mend, folder } = await repairScene();
    const other = await pullScene('other');
    const { id } = await other.pull();
    rmSync(manifestPath);
    renameSync(join(other.folder, `${id}.qcow2`), join(folder, `${id}.qcow2`));
    const { leftOut, export: name } = await mend();
    expect(name).toBe('disk');
    expect(leftOut).toContainEqual({ file: `${id}.qcow2`, reason: 'belongs to the export "other"' });
  });

  test('foreign files are left out', async () => {
    const { manifestPath, mend, folder } = await repairScene();
    rmSync(manifestPath);
    writeFileSync(join(folder, 'note.qcow2'), 'nonsense');
    await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', join(folder, 'disk.qcow2'), '1M');
    expect((await mend()).leftOut.map(({ file }) => file)).toEqual(['disk.qcow2', 'note.qcow2']);
  });
});

test('an image without its own entry is measured, and gets no images on top', async () => {
  const { mend, folder, directory, pull, write } = await repairScene();
  rmSync(folder, { recursive: true });
  mkdirSync(folder);
  const [first, second] = ['20261120-013000-aaaa', '20261121-013000-bbbb'];
  await writeImage(join(folder, `${first}.qcow2`), 4 * MIB, [1, 2]);
  await writeImage(join(folder, `${second}.qcow2`), 4 * MIB, ['skip', 'zero', 3], `${first}.qcow2`);
  const { points, export: name } = await mend();
  expect(name).toBe('disk');
  expect(points).toMatchObject([
    { id: first, base: null, takenAt: '2026-11-20T01:30:00.000Z', measured: true },
    { id: second, base: first, takenAt: '2026-11-21T01:30:00.000Z', measured: true },
  ]);
  expect(manifestOf(folder).images[1]).toMatchObject({ dataBytes: 65_536, zeroBytes: 65_536 });
  const { exports } = await verify(directory, quiet);
  expect(exports[0]!.points).toMatchObject([{ problem: null, measured: true }, { problem: null }]);
  await write(0, 512, 1);
  const again = await pull();
  expect(again.images[0]!.mode).toBe('full');
});

test('an image that waits for its commit is still pending', async () => {
  const { mend, manifestPath, folder, pull, service } = await repairScene();
  service.afterCommit = () => {
    throw new NoAnswerError(new Error('hung up'));
  };
  await expect(pull({ commitPatienceSeconds: 0 })).rejects.toThrow('did not say');
  const before = manifestOf(folder);
  rmSync(manifestPath);
  expect(await mend()).toMatchObject({ pending: before.pending.id });
  expect(manifestOf(folder)).toEqual(before);
});

test('an export name that is escaped in the folder name is restored', async () => {
  const name = '../a/b %';
  const { pull, directory } = await pullScene(name);
  await pull();
  const folder = join(directory, readdirSync(directory)[0]!);
  rmSync(join(folder, 'manifest.json'));
  await repair(directory, { exportName: name, dryRun: false, ...quiet });
  expect(manifestOf(folder).export).toBe(name);
});

test('pull, verify and restore of a lost or damaged manifest name tidemark repair', async () => {
  const { manifestPath, pull, directory } = await repairScene();
  const restoring = () => {
    const to = join(scratchFolder(), 'a.img');
    return restore({ directory, exportName: 'disk', at: undefined, to, force: false, check: true, ...quiet });
  };
  for (const harm of [() => rmSync(manifestPath), () => writeFileSync(manifestPath, '{')]) {
    harm();
    const hint = expect.stringContaining(`tidemark repair ${directory}`);
    await expect(pull()).rejects.toMatchObject({ hint });
    await expect(restoring()).rejects.toMatchObject({ hint });
    expect((await verify(directory, quiet)).exports[0]!.problem).toContain(`tidemark repair ${directory}`);
  }
});
