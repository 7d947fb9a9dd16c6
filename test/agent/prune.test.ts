import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type PrunedExport, prune } from '../../src/agent/prune.js';
import { restore } from '../../src/agent/restore.js';
import { verify } from '../../src/agent/verify.js';
import { KIB, MIB } from '../../src/base/units.js';
import { diskWith, manifestOf, pullScene, quiet } from '../support/pull-scene.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** A full backup and three increments, with the content of the disk at each. */
async function chainOfFour() {
  const scene = await pullScene();
  const disks = new Map<string, Buffer>();
  const writes: [number, number, number][] = [];
  for (const [index, value] of [1, 2, 3, 4].entries()) {
    const write: [number, number, number] = [index * 512 * KIB, MIB, value];
    writes.push(write);
    await scene.write(...write);
    const { id } = await scene.pull();
    disks.set(id, diskWith(...writes));
  }
  return { ...scene, disks, ids: [...disks.keys()] };
}

async function expectRestorable(directory: string, ids: readonly string[], disks: ReadonlyMap<string, Buffer>) {
  const { exports } = await verify(directory, quiet);
  const good = exports[0]!.points.filter(({ problem }) => problem === null).map(({ id }) => id);
  expect(good).toEqual(expect.arrayContaining([...ids]));
  for (const id of ids) {
    const to = join(scratchFolder(), 'restored.img');
    await restore({ directory, exportName: 'disk', at: id, to, force: false, check: true, ...quiet });
    expect(readFileSync(to).equals(disks.get(id)!), id).toBe(true);
  }
}

function pruneTo(directory: string, keep: number, signal = quiet.signal): Promise<PrunedExport[]> {
  return prune(directory, { policy: { last: keep }, signal, onProgress: () => {} });
}

describe.each([1, 2, 3])('pruned to %i', (keep) => {
  test('the newest restore points are there, and nothing else', async () => {
    const { directory, folder, disks, ids } = await chainOfFour();
    const kept = ids.slice(-keep);
    const [result] = await pruneTo(directory, keep);
    expect(result).toMatchObject({ kept, dropped: ids.slice(0, -keep), merged: [kept[0]], problem: null });
    expect(readdirSync(folder).sort()).toEqual([...kept.map((id) => `${id}.qcow2`), 'manifest.json']);
    await expectRestorable(directory, kept, disks);
    for (const id of kept) await run('qemu-img', 'check', join(folder, `${id}.qcow2`));
    const raw = join(scratchFolder(), 'disk.img');
    await run('qemu-img', 'convert', '-O', 'raw', join(folder, `${kept.at(-1)}.qcow2`), raw);
    expect(readFileSync(raw).equals(disks.get(kept.at(-1)!)!)).toBe(true);
  });
});

test('a pruned chain can be continued', async () => {
  const { directory, disks, ids, pull, write } = await chainOfFour();
  await pruneTo(directory, 1);
  await write(0, 512, 9);
  const { id, images } = await pull();
  expect(images[0]).toMatchObject({ mode: 'incremental', base: ids.at(-1) });
  const disk = Buffer.from(disks.get(ids.at(-1)!)!);
  disk.fill(9, 0, 512);
  await expectRestorable(directory, [ids.at(-1)!, id], new Map([...disks, [id, disk]]));
});

test('an older chain is dropped without a merge', async () => {
  const { directory, folder, pull, ids } = await chainOfFour();
  const { id } = await pull({ full: true });
  const before = statSync(join(folder, `${id}.qcow2`)).mtimeMs;
  expect(await pruneTo(directory, 1)).toMatchObject([{ kept: [id], dropped: ids, merged: [] }]);
  expect(statSync(join(folder, `${id}.qcow2`)).mtimeMs).toBe(before);
});

test('nothing is pruned if there are no more restore points than should be kept', async () => {
  const { directory, ids } = await chainOfFour();
  expect(await pruneTo(directory, 4)).toMatchObject([{ kept: ids, dropped: [], freedBytes: 0 }]);
});

describe.each([undefined, 0])('with threads from %s bytes on', (worthThreadsBytes) => {
  // Three images are merged, and the last one is kept on top of them.
  test.each([0, 1, 2, 3])('an export whose image %i is damaged is left unchanged', async (index) => {
    const { directory, folder, ids } = await chainOfFour();
    const path = join(folder, `${ids[index]}.qcow2`);
    const content = readFileSync(path);
    content[70_000] = content[70_000]! ^ 1;
    writeFileSync(path, content);
    const before = contentsOf(folder);
    const [result] = await prune(directory, { ...quiet, policy: { last: 2 }, worthThreadsBytes });
    const problem = expect.stringContaining(`${ids[index]} is not good: the file has the checksum`);
    expect(result).toMatchObject({ kept: ids, dropped: [], merged: [], problem });
    expect(contentsOf(folder)).toEqual(before);
  });
});

function contentsOf(folder: string): Map<string, string> {
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'latin1')]));
}

test('a damaged or missing image in an older chain is dropped with that chain', async () => {
  const { directory, folder, pull, ids } = await chainOfFour();
  const { id } = await pull({ full: true });
  rmSync(join(folder, `${ids[0]}.qcow2`));
  writeFileSync(join(folder, `${ids[1]}.qcow2`), 'nonsense');
  expect(await pruneTo(directory, 1)).toMatchObject([{ kept: [id], dropped: ids, problem: null }]);
  expect(readdirSync(folder).sort()).toEqual([`${id}.qcow2`, 'manifest.json']);
});

test('linked folders are pruned too, even if another folder is bad', async () => {
  const { directory, folder, ids } = await chainOfFour();
  const elsewhere = join(scratchFolder(), 'elsewhere');
  renameSync(folder, elsewhere);
  symlinkSync(elsewhere, folder);
  mkdirSync(join(directory, 'lost+found'));
  mkdirSync(join(directory, 'bad'));
  writeFileSync(join(directory, 'bad', 'manifest.json'), 'nonsense');
  expect(await pruneTo(directory, 3)).toMatchObject([
    { export: 'bad', problem: expect.stringContaining('is no manifest') },
    { export: 'disk', dropped: ids.slice(0, 1), problem: null },
  ]);
});

test('an image that turns out to be damaged stops only its own export from being pruned', async () => {
  const { directory, pull } = await pullScene('bad', 'good');
  const ids: string[] = [];
  for (let i = 0; i < 4; i++) ids.push((await pull()).id);
  const path = join(directory, 'bad', `${ids[1]}.qcow2`);
  const content = readFileSync(path);
  content[70_000] = content[70_000]! ^ 1;
  writeFileSync(path, content);
  const problem = expect.stringContaining(`${ids[1]} is not good: the file has the checksum`);
  expect(await pruneTo(directory, 2)).toMatchObject([
    { export: 'bad', kept: ids, dropped: [], problem },
    { export: 'good', kept: ids.slice(2), dropped: ids.slice(0, 2), problem: null },
  ]);
  // What verify records, the next prune works around: these two points need the damaged image.
  await verify(directory, quiet);
  expect((await pruneTo(directory, 2))[0]).toMatchObject({ kept: ids, dropped: [], problem: null });
  const { id } = await pull();
  expect((await pruneTo(directory, 1))[0]).toMatchObject({ export: 'bad', kept: [id], problem: null });
});

test('a directory without backups is refused', async () => {
  const directory = scratchFolder();
  await expect(pruneTo(directory, 3)).rejects.toMatchObject({ message: `${directory} has no backups` });
});

test('an interrupted prune changes nothing', async () => {
  const { directory, folder, disks, ids } = await chainOfFour();
  const controller = new AbortController();
  const onProgress = () => controller.abort();
  await expect(prune(directory, { policy: { last: 2 }, signal: controller.signal, onProgress })).rejects.toThrow(
    /^interrupted/,
  );
  expect(readdirSync(folder)).toHaveLength(5);
  await expectRestorable(directory, ids, disks);
});

/** The contents of a folder at each moment when a prune can be killed, made from those before and after. */
const moments: Record<string, (folder: string, ids: readonly string[], merged: string) => void> = {
  'while it wrote the merged image': (folder, ids) => {
    writeFileSync(join(folder, `.${ids[2]}.merging`), 'a part');
  },
  'before the rename': (folder, ids, merged) => {
    cpSync(merged, join(folder, `.${ids[2]}.merging`));
    noteMerge(folder, ids, merged);
  },
  'after the rename': (folder, ids, merged) => {
    cpSync(merged, join(folder, `${ids[2]}.qcow2`));
    noteMerge(folder, ids, merged);
  },
  'while it removed images': (folder, ids, merged) => {
    cpSync(merged, join(folder, `${ids[2]}.qcow2`));
    noteMerge(folder, ids, merged);
    rmSync(join(folder, `${ids[0]}.qcow2`));
  },
};

/** Adds the note about the merge to a manifest from before it. */
function noteMerge(folder: string, ids: readonly string[], merged: string): void {
  const [image] = manifestOf(join(merged, '..')).images;
  const merging = { image, drops: ids.slice(0, 2) };
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...manifestOf(folder), merging }));
}

describe('a prune that was killed', () => {
  test.each(Object.keys(moments))(
    '%s has lost no kept restore point, and the next one completes it',
    async (moment) => {
      const { directory, folder, disks, ids, pull } = await chainOfFour();
      const after = scratchFolder();
      cpSync(directory, after, { recursive: true });
      await pruneTo(after, 2);
      moments[moment]!(folder, ids, join(after, 'disk', `${ids[2]}.qcow2`));

      const promised = ids.slice(-2);
      await expectRestorable(directory, promised, disks);
      expect((await pull()).images[0]!.mode).toBe('incremental');
      expect((await pruneTo(directory, 3))[0]!.kept.slice(0, 2)).toEqual(promised);
      await expectRestorable(directory, promised, disks);
      expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
    },
  );
});
