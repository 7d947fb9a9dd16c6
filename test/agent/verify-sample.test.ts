import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ImageEntry } from '../../src/agent/manifest-format.js';
import { prune } from '../../src/agent/prune.js';
import { verify } from '../../src/agent/verify.js';
import { chooseSample } from '../../src/agent/verify-sample.js';
import { MIB } from '../../src/base/units.js';
import { tidemark } from '../support/agent.js';
import { manifestOf, pullScene, quiet } from '../support/pull-scene.js';

function image(id: string, fileBytes: number, change: Partial<ImageEntry> = {}): ImageEntry {
  const sizes = { sizeBytes: 1, dirtyBytes: 1, readBytes: 1, dataBytes: 1, zeroBytes: 0, fileBytes };
  const checksum = 'xxh64-sum:0000000000000000';
  const takenAt = '2026-11-01T00:00:00Z';
  return { id, base: null, mode: 'full', takenAt, durationSeconds: 1, ...sizes, checksum, ...change };
}

/** A full backup and three increments. */
async function chainOfFour() {
  const scene = await pullScene();
  const ids: string[] = [];
  for (const value of [1, 2, 3, 4]) {
    await scene.write(0, MIB, value);
    ids.push((await scene.pull()).id);
  }
  const pathOf = (id: string) => join(scene.folder, `${id}.qcow2`);
  const flip = (id: string) => {
    const content = readFileSync(pathOf(id));
    content[70_000] = content[70_000]! ^ 1;
    writeFileSync(pathOf(id), content);
  };
  const check = async (samplePercent?: number) =>
    (await verify(scene.directory, { ...quiet, samplePercent })).exports[0]!;
  const checkedAt = () => manifestOf(scene.folder).images.map((one: ImageEntry) => one.checkedAt);
  return { ...scene, ids, pathOf, flip, check, checkedAt };
}

describe('a sample', () => {
  const idsOf = (images: readonly ImageEntry[], percent: number) =>
    [...chooseSample(images, percent)].map(({ id }) => id);

  test('begins with images that were never read, then takes those that were read the longest time ago', () => {
    const images = [
      image('a', 10, { checkedAt: '2026-11-03T00:00:00Z' }),
      image('b', 10, { checkedAt: '2026-11-02T00:00:00Z' }),
      image('c', 10),
      image('d', 10, { checkedAt: 'nonsense' }),
    ];
    expect(idsOf(images, 1)).toEqual(['c']);
    expect(idsOf(images, 50)).toEqual(['c', 'd']);
    expect(idsOf(images, 51)).toEqual(['c', 'd', 'b']);
    expect(idsOf(images, 100)).toEqual(['c', 'd', 'b', 'a']);
  });

  test('counts bytes, not images, and leaves out what is known to be damaged', () => {
    const damage = { foundBy: 'verify', foundAt: '2026-11-01T00:00:00Z', problem: 'gone' } as const;
    const images = [image('gone', 50, { damage }), image('large', 40), image('small', 5), image('last', 5)];
    expect(idsOf(images, 40)).toEqual(['large']);
    expect(idsOf(images, 41)).toEqual(['large', 'small']);
  });
});

test('a check records when it found each image good', async () => {
  const { check, checkedAt, ids } = await chainOfFour();
  expect(checkedAt()).toEqual(ids.map(() => undefined));
  const { points } = await check();
  expect(points.map(({ read }) => read)).toEqual([true, true, true, true]);
  expect(checkedAt()).toEqual(points.map((point) => point.checkedAt));
  for (const time of checkedAt()) expect(Date.parse(time)).toBeGreaterThan(Date.now() - 60_000);
});

test('a damaged image keeps the time at which it was last good', async () => {
  const { check, checkedAt, flip, ids } = await chainOfFour();
  await check();
  const before = checkedAt();
  flip(ids[1]!);
  const { points } = await check();
  expect(points[1]).toMatchObject({ checkedAt: before[1], problem: expect.stringContaining('checksum') });
  expect(checkedAt()[1]).toBe(before[1]);
  expect(checkedAt()[0] > before[0]).toBe(true);
});

test('samples read everything in turn, and find damage when its turn comes', async () => {
  const { check, checkedAt, flip, ids } = await chainOfFour();
  flip(ids[3]!);
  for (const [index, id] of ids.slice(0, 3).entries()) {
    const { points } = await check(1);
    expect(points.filter(({ read }) => read).map((point) => point.id)).toEqual([id]);
    expect(points.map(({ problem }) => problem)).toEqual([null, null, null, null]);
    expect(checkedAt().filter((time: string | undefined) => time !== undefined)).toHaveLength(index + 1);
  }
  expect((await check(1)).points[3]).toMatchObject({ read: true, problem: expect.stringContaining('checksum') });
  // What is known to be damaged does not keep the others waiting, but is still reported.
  const { points } = await check(1);
  expect(points.map(({ read }) => read)).toEqual([true, false, false, false]);
  expect(points[3]!.problem).toContain('checksum');
});

test('the tables of the images that the next pull builds on are checked each time', async () => {
  const { check, pathOf, pull, ids } = await chainOfFour();
  truncateSync(pathOf(ids[2]!), 100);
  const { points } = await check(1);
  expect(points.map(({ read }) => read)).toEqual([true, false, false, false]);
  expect(points[2]!.problem).toContain('the file has 100 bytes instead of');
  expect(points[3]!.problem).toBe(`needs ${ids[2]}, which is not good`);
  expect((await pull()).images[0]).toMatchObject({ mode: 'full', fullReason: { code: 'chain-damaged' } });
});

test('a merged image was not checked yet', async () => {
  const { check, checkedAt, directory } = await chainOfFour();
  await check();
  await prune(directory, { ...quiet, policy: { last: 2 } });
  expect(checkedAt()).toEqual([undefined, expect.any(String)]);
});

test('the command says what it read, and when it read the rest', async () => {
  const { check, directory, ids } = await chainOfFour();
  await check(1);
  const { code, stdout } = await tidemark('verify', directory, '--sample', '30%');
  expect(code).toBe(0);
  const stateOf = (id: string) => stdout.split('\n').find((line) => line.includes(id));
  expect(stateOf(ids[0]!)).toMatch(/ {2}checked \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
  expect(stateOf(ids[1]!)).toMatch(/ {2}good$/);
  expect(stateOf(ids[3]!)).toMatch(/ {2}never checked$/);
  expect(stdout).toMatch(/\ndisk: read \d of 4 images, [\d.]+ MiB of [\d.]+ MiB\n/);
  const points = JSON.parse((await tidemark('points', directory, '--json')).stdout).exports[0].points;
  expect(points[0].checkedAt).toMatch(/^\d{4}-.*Z$/);
  expect(points[3].checkedAt).toBeNull();
  for (const share of ['0%', '101%', '5', 'x%']) {
    expect(await tidemark('verify', directory, '--sample', share)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Expected 1% to 100%'),
    });
  }
});
