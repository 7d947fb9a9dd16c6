import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { tidemark } from '../support/agent.js';
import { idAt, writeChain } from '../support/image-chains.js';
import { manifestOf } from '../support/pull-scene.js';

/** A chain of four images, the first two of one day, and the last two of another. */
async function fourImages() {
  const times = ['2026-11-20T01:00:00', '2026-11-20T13:00:00', '2026-11-21T01:00:00', '2026-11-21T13:00:00'];
  const directory = await writeChain(
    times.map((time, index) => ({
      ...{ sizeBytes: 8 * CLUSTER_BYTES, base: index === 0 ? null : index - 1 },
      ...{ contents: [index + 1], takenAt: new Date(time).toISOString() },
    })),
  );
  return { directory, folder: join(directory, 'disk') };
}

test('a dry run says what stays, why, and what would be rewritten, and changes nothing', async () => {
  const { directory, folder } = await fourImages();
  const before = readdirSync(folder);
  const { code, stdout } = await tidemark('prune', directory, '--keep-daily', '1', '--keep-last', '2', '--dry-run');
  expect(code).toBe(0);
  expect(stdout).toBe(
    [
      'EXPORT  RESTORE POINT  TAKEN                DRY RUN  WHY',
      'disk    image-000      2026-11-20 01:00:00  drop',
      'disk    image-001      2026-11-20 13:00:00  drop',
      'disk    image-002      2026-11-21 01:00:00  keep     last 2',
      'disk    image-003      2026-11-21 13:00:00  keep     last 1, daily 2026-11-21, newest',
      'disk: image-002 becomes a full image: at most 192 KiB',
      '',
    ].join('\n'),
  );
  expect(readdirSync(folder)).toEqual(before);
});

test('a dry run as JSON has what the prune then does', async () => {
  const { directory, folder } = await fourImages();
  const prune = async (...args: string[]) => {
    const { code, stdout } = await tidemark('prune', directory, '--keep-daily', 'unlimited', '--json', ...args);
    expect(code).toBe(0);
    return JSON.parse(stdout);
  };
  const points = [
    { id: idAt(0), keep: true, reasons: ['daily 2026-11-20'] },
    { id: idAt(1), keep: true, reasons: ['daily 2026-11-20'] },
    { id: idAt(2), keep: false, reasons: [] },
    { id: idAt(3), keep: true, reasons: ['daily 2026-11-21', 'newest'] },
  ];
  const merges = [{ id: idAt(3), onto: idAt(1), estimatedBytes: 2 * CLUSTER_BYTES }];
  expect(await prune('--dry-run')).toMatchObject({
    ...{ directory, policy: { daily: 'unlimited' }, dryRun: true },
    exports: [{ export: 'disk', problem: null, points, merges }],
  });
  const kept = [idAt(0), idAt(1), idAt(3)];
  expect(await prune()).toMatchObject({
    ...{ directory, policy: { daily: 'unlimited' } },
    exports: [{ export: 'disk', kept, dropped: [idAt(2)], merged: [idAt(3)], problem: null }],
  });
  expect(readdirSync(folder).sort()).toEqual([...kept.map((id) => `${id}.qcow2`), 'manifest.json']);
  expect((await tidemark('verify', directory)).code).toBe(0);
});

test('points that one disk of several could not drop are pointed out, and go when they can', async () => {
  const { directory, folder } = await fourImages();
  const other = join(directory, 'other');
  cpSync(folder, other, { recursive: true });
  const manifest = manifestOf(other);
  writeFileSync(join(other, 'manifest.json'), JSON.stringify({ ...manifest, export: 'other' }));
  const path = join(other, `${idAt(3)}.qcow2`);
  const content = readFileSync(path);
  writeFileSync(path, Buffer.alloc(content.length, 1));
  const prune = () => tidemark('prune', directory, '--keep-last', '2');
  const { code, stdout, stderr } = await prune();
  expect(code).toBe(1);
  expect(stdout).toMatch(
    /^disk: 2 kept, 2 dropped, .+\nother: left unchanged: image-003 is not good: .+\nother: 2 of them no longer exist for other disks; .+\n$/,
  );
  expect(stderr).toContain('not pruned: other');
  writeFileSync(path, content);
  expect(await prune()).toMatchObject({ code: 0, stdout: expect.stringMatching(/\nother: 2 kept, 2 dropped, /) });
});
