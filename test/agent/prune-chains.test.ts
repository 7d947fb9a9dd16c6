import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { prune } from '../../src/agent/prune.js';
import { restore } from '../../src/agent/restore.js';
import type { RetentionPolicy } from '../../src/agent/retention/policy.js';
import { verify } from '../../src/agent/verify.js';
import { MIB } from '../../src/base/units.js';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { idAt, type PlannedImage, randomImages, writeChain } from '../support/image-chains.js';
import { manifestOf, quiet } from '../support/pull-scene.js';
import type { ClusterContent } from '../support/qcow2-files.js';
import { Random, testSeed } from '../support/random.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** Called before and after each step that changes files. */
const steps = vi.hoisted(() => ({ onChange: () => {} }));

function withNews<Args extends unknown[], Result>(change: (...args: Args) => Promise<Result>) {
  return async (...args: Args): Promise<Result> => {
    steps.onChange();
    const result = await change(...args);
    steps.onChange();
    return result;
  };
}

vi.mock('../../src/posix/replacement.js', async (load) => {
  const real = await load<typeof import('../../src/posix/replacement.js')>();
  return { ...real, renameDurably: withNews(real.renameDurably), replaceFile: withNews(real.replaceFile) };
});
vi.mock('node:fs/promises', async (load) => {
  const real = await load<typeof import('node:fs/promises')>();
  return { ...real, rm: withNews(real.rm) };
});

afterEach(() => {
  steps.onChange = () => {};
});

/** The disk as QEMU reads it. */
async function convert(directory: string, id: string): Promise<Buffer> {
  const raw = join(scratchFolder(), 'disk.img');
  await run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', join(directory, 'disk', `${id}.qcow2`), raw);
  return readFileSync(raw);
}

async function restored(directory: string, id: string): Promise<Buffer> {
  const to = join(scratchFolder(), 'restored.img');
  await restore({ directory, exportName: 'disk', at: id, to, force: false, check: true, ...quiet });
  return readFileSync(to);
}

/** Copies of a directory from before and after each step of a prune. */
async function pruneWithCopies(directory: string, policy: RetentionPolicy, worthThreadsBytes?: number) {
  const copies: string[] = [];
  steps.onChange = () => {
    const copy = scratchFolder();
    cpSync(directory, copy, { recursive: true });
    copies.push(copy);
  };
  const [result] = await prune(directory, { ...quiet, policy, worthThreadsBytes });
  steps.onChange = () => {};
  return { result: result!, copies };
}

async function expectGood(directory: string, ids: readonly string[]): Promise<void> {
  const { exports } = await verify(directory, quiet);
  const good = exports[0]!.points.filter(({ problem }) => problem === null).map(({ id }) => id);
  expect(good).toEqual(expect.arrayContaining([...ids]));
}

/** Prunes random chains. Whatever is kept reads as before, at each moment, and also after a prune that was killed. */
async function tryChains(seed: number, worthThreadsBytes?: number): Promise<void> {
  const random = new Random(seed);
  const directory = await writeChain(randomImages(random));
  const ids: string[] = manifestOf(join(directory, 'disk')).images.map(({ id }: { id: string }) => id);
  const disks = new Map<string, Buffer>();
  for (const id of ids) {
    disks.set(id, await convert(directory, id));
    expect((await restored(directory, id)).equals(disks.get(id)!), `${id} before, seed ${seed}`).toBe(true);
  }
  const policy = random.chance(3) ? { last: 1 + random.below(3) } : { daily: 1 + random.below(4) };
  const { result, copies } = await pruneWithCopies(directory, policy, worthThreadsBytes);
  const { kept, dropped, problem } = result;
  expect(kept).toContain(ids.at(-1));
  expect([...kept, ...dropped].sort()).toEqual(ids);
  const folder = join(directory, 'disk');
  expect(readdirSync(folder).sort()).toEqual([...kept.map((id) => `${id}.qcow2`), 'manifest.json'].sort());
  expect(manifestOf(folder).format).toBe(3);
  await expectGood(directory, kept);
  for (const id of kept) {
    expect((await convert(directory, id)).equals(disks.get(id)!), `${id} by qemu-img, seed ${seed}`).toBe(true);
    expect((await restored(directory, id)).equals(disks.get(id)!), `${id} restored, seed ${seed}`).toBe(true);
    await run('qemu-img', 'check', '-f', 'qcow2', join(folder, `${id}.qcow2`));
  }
  for (const [moment, copy] of copies.entries()) {
    const where = `moment ${moment} of ${copies.length}, seed ${seed}`;
    for (const id of kept) expect((await restored(copy, id)).equals(disks.get(id)!), `${id}, ${where}`).toBe(true);
    const [again] = await prune(copy, { ...quiet, policy });
    expect(again, where).toMatchObject({ kept, problem });
    for (const id of kept)
      expect((await restored(copy, id)).equals(disks.get(id)!), `${id}, after ${where}`).toBe(true);
    expect(readdirSync(join(copy, 'disk')).sort(), where).toEqual(readdirSync(folder).sort());
  }
}

const TRIALS = 4;

test.each([undefined, 0])(
  'whatever a policy keeps reads as before (threads from %s bytes)',
  async (worthThreads) => {
    const seeds = new Random(testSeed());
    for (let trial = 0; trial < TRIALS; trial++) await tryChains(seeds.below(2 ** 31), worthThreads);
  },
  600_000,
);

/** A chain in which some images are to be dropped: they are of the day of the image that follows them. */
function lineOf(...images: readonly [sizeBytes: number, contents: readonly ClusterContent[], fate?: 'drop'][]) {
  let day = 1;
  return images.map(([sizeBytes, contents, fate], index): PlannedImage => {
    const takenAt = new Date(2026, 2, day, fate ? 1 : 12, index).toISOString();
    if (!fate) day++;
    return { sizeBytes, base: index === 0 ? null : index - 1, contents, takenAt };
  });
}

/** Prunes a chain to the images that are not to be dropped, and resolves to the disks of these before and after. */
async function pruneLine(images: readonly PlannedImage[], worthThreadsBytes?: number) {
  const directory = await writeChain(images);
  const days = new Set(images.map(({ takenAt }) => new Date(takenAt).toDateString())).size;
  const keptIds = images.flatMap(({ takenAt }, index) => (new Date(takenAt).getHours() === 12 ? [idAt(index)] : []));
  const disksOf = () => Promise.all(keptIds.map((id) => convert(directory, id)));
  const before = await disksOf();
  const [result] = await prune(directory, { ...quiet, policy: { daily: days }, worthThreadsBytes });
  return { directory, keptIds, result: result!, before, after: await disksOf() };
}

const C = CLUSTER_BYTES;

describe.each([undefined, 0])('with threads from %s bytes on', (worthThreadsBytes) => {
  test.each<[string, ReturnType<typeof lineOf>]>([
    ['is hidden by a smaller disk', lineOf([4 * C, [1, 1, 1, 1]], [2 * C, [], 'drop'], [4 * C, []])],
    [
      'is hidden by a smaller disk further down',
      lineOf([4 * C, [1, 1, 1, 1]], [2 * C, [], 'drop'], [4 * C, [], 'drop'], [4 * C, [2]]),
    ],
    [
      'is hidden by zeroes',
      lineOf([4 * C, [1, 1, 1, 1]], [4 * C, ['zero', 0, 3], 'drop'], [4 * C, ['skip', 'skip', 'zero']]),
    ],
    [
      'is beyond the end of the image that is kept',
      lineOf([2 * C, [1, 1]], [4 * C, [2, 'skip', 3, 4], 'drop'], [3 * C - 512, []]),
    ],
    [
      'is that of a disk that grew',
      lineOf([C + 512, [1, 1]], [4 * C, ['skip', 2], 'drop'], [6 * C, ['skip', 'skip', 'skip', 'skip', 5]]),
    ],
    ['is at the end of a disk that grew', lineOf([C + 512, [1, 1], 'drop'], [4 * C, ['skip', 'skip', 3]])],
    [
      'is at the end of an increment',
      lineOf([C, [1]], [C + 512, ['skip', 2], 'drop'], [4 * C, [], 'drop'], [4 * C, []]),
    ],
    ['is in two runs', lineOf([2 * C, [1], 'drop'], [2 * C, ['skip', 2]], [2 * C, [3], 'drop'], [2 * C, ['zero', 4]])],
  ])('data that %s reads as before after a merge', async (_, images) => {
    const { directory, keptIds, result, before, after } = await pruneLine(images, worthThreadsBytes);
    expect(result).toMatchObject({ kept: keptIds, problem: null });
    expect(result.merged.length).toBeGreaterThan(0);
    for (const [index, disk] of after.entries()) {
      expect(disk.equals(before[index]!), keptIds[index]).toBe(true);
      expect((await restored(directory, keptIds[index]!)).equals(disk), keptIds[index]).toBe(true);
    }
    await expectGood(directory, keptIds);
  });
});

test('a merge writes only what the dropped images have, and says what it took in', async () => {
  const images = lineOf([8 * C, [1, 1, 1, 1]], [8 * C, [2, 'zero'], 'drop'], [8 * C, ['skip', 'skip', 3]]);
  const { directory, keptIds } = await pruneLine(images);
  expect(manifestOf(join(directory, 'disk')).images).toMatchObject([
    { id: keptIds[0], base: null },
    { id: keptIds[1], base: keptIds[0], mode: 'incremental', dataBytes: 2 * C, zeroBytes: C, dirtyBytes: 3 * C },
  ]);
});

test('what was merged with an image without a checksum from its day has none either', async () => {
  const images = lineOf([4 * C, [1]], [4 * C, [2], 'drop'], [4 * C, ['skip', 3]]);
  const directory = await writeChain(images);
  const path = join(directory, 'disk', 'manifest.json');
  const manifest = manifestOf(join(directory, 'disk'));
  manifest.images[1].measured = true;
  writeFileSync(path, JSON.stringify(manifest));
  await prune(directory, { ...quiet, policy: { daily: 2 } });
  const [kept, merged] = manifestOf(join(directory, 'disk')).images;
  expect(kept).not.toHaveProperty('measured');
  expect(merged).toMatchObject({ id: idAt(2), measured: true });
});

test('a disk that shrank to a part of a cluster and grew again is left unchanged', async () => {
  const images = lineOf([4 * C, [1, 1, 1, 1]], [2 * C - 512, [], 'drop'], [4 * C, []]);
  const { result, before, after } = await pruneLine(images);
  expect(result).toMatchObject({ kept: [idAt(0), idAt(1), idAt(2)], dropped: [], merged: [] });
  expect(result.problem).toBe(
    `${idAt(1)} cannot be merged: the disk shrank to ${2 * C - 512} bytes, not a multiple of 64 KiB, and grew again`,
  );
  for (const [index, disk] of after.entries()) expect(disk.equals(before[index]!)).toBe(true);
});

test('a merge over more than one table of a large disk', async () => {
  const far = (content: ClusterContent): ClusterContent[] => Object.assign(Array(8193).fill('skip'), { 8192: content });
  const size = 512 * MIB + 4 * C;
  const images = lineOf([size, far(1)], [512 * MIB, [5], 'drop'], [size, []]);
  const { result, before, after } = await pruneLine(images);
  expect(result).toMatchObject({ problem: null, merged: [idAt(2)] });
  for (const [index, disk] of after.entries()) expect(disk.equals(before[index]!), `${index}`).toBe(true);
});
