import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { Backup } from '../../src/api/backup.js';
import { KIB, MIB } from '../../src/base/units.js';
import { Control } from '../support/control.js';
import { expectSameContent, makeImage, type Range } from '../support/image.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges, statusMap } from '../support/status-map.js';
import { startTidemark } from '../support/tidemark.js';

const SIZE_BYTES = 32 * MIB;
const data = [
  { offset: 0, length: 5 * MIB },
  { offset: 16 * MIB, length: 3 * MIB },
  { offset: SIZE_BYTES - 64 * KIB, length: 64 * KIB },
];
/** The granules written between the two backups. */
const changed = [
  { offset: MIB, length: 128 * KIB },
  { offset: 8 * MIB, length: 64 * KIB },
  { offset: 17 * MIB, length: MIB },
];
const context = 'qemu:dirty-bitmap:nightly';
const python = '/usr/bin/python3';

/** Writes all over an export until the test is over. */
function keepWriting(uri: string): void {
  const workload = ['--rw=randwrite', '--bsrange=512-128k', '--blockalign=512', '--iodepth=8', '--rate_iops=1000'];
  const endless = ['--time_based', '--runtime=3600', `--size=${SIZE_BYTES}`];
  const args = ['--name=job', '--ioengine=nbd', `--uri=${uri}`, ...workload, ...endless];
  // fio is ended by SIGTERM, so it writes no report.
  const fio = spawn('fio', args, { stdio: 'ignore' });
  const gone = once(fio, 'exit');
  onTestFinished(async () => {
    fio.kill();
    await gone;
  });
}

/**
 * A disk with changes since a first backup, and a second backup in progress while the disk is being written. `copy` is
 * the image at the second cut, `base` at the first one.
 */
async function viewUnderWrites() {
  const image = makeImage(SIZE_BYTES, data);
  const [base, copy] = [join(scratchFolder(), 'base.img'), join(scratchFolder(), 'copy.img')];
  const server = await startTidemark(`disk=${image}`);
  const control = new Control(server.control);
  const begin = () => control.call<Backup>('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly' });
  const look = ({ id }: { id: string }) => control.call<Backup>('GET', `/v1/backups/${id}`);

  const first = await begin();
  await control.call('POST', `/v1/backups/${first.id}/commit`);
  copyFileSync(image, base);
  const commands = changed.flatMap(({ offset, length }) => ['-c', `write -P 7 ${offset} ${length}`]);
  await run('qemu-io', '-f', 'raw', ...commands, server.uri('disk'));
  copyFileSync(image, copy);
  const allocation = await statusMap(server.uri('disk'), 'base:allocation');

  const backup = await begin();
  await run('qemu-io', '-f', 'raw', '-c', 'write -z 0 1M', '-c', 'discard 16M 1M', server.uri('disk'));
  keepWriting(server.uri('disk'));
  while ((await look(backup)).scratch.usedBytes < 2 * MIB) await delay(20);
  const { uri } = backup.exports[0]!;
  return { server, image, base, copy, allocation, backup, uri, look };
}

/** Makes sure that the reads happened while the disk was being written. */
function expectWritten({ image, copy }: { image: string; copy: string }): void {
  expect(readFileSync(image).equals(readFileSync(copy)), 'the disk is still as it was').toBe(false);
}

test('nbdcopy reads a view over several connections while its disk is written', async () => {
  const disk = await viewUnderWrites();
  const target = makeImage(SIZE_BYTES);
  await run('nbdcopy', '--connections=4', '--requests=16', disk.uri, target);
  expectSameContent(target, disk.copy);
  await run('nbdcopy', disk.uri, target);
  expectSameContent(target, disk.copy);
  expectWritten(disk);
  expect(await disk.look(disk.backup)).toMatchObject({ state: 'active' });
});

test('qemu-img convert makes an image of a view, and compare finds no difference', async () => {
  const disk = await viewUnderWrites();
  const qcow2 = join(scratchFolder(), 'view.qcow2');
  await run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', disk.uri, qcow2);
  await run('qemu-img', 'check', '-q', qcow2);
  await run('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', 'raw', qcow2, disk.copy);
  await run('qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'raw', disk.uri, disk.copy);
  expectWritten(disk);
});

test('nbdinfo and qemu-img map show what was allocated, and what was dirty, at the cut', async () => {
  const disk = await viewUnderWrites();
  expect(await dirtyRanges(disk.uri, 'nightly')).toEqual(changed);
  expect(await statusMap(disk.uri, 'base:allocation')).toEqual(disk.allocation);

  const mapped = async (...image: string[]): Promise<Range[]> => {
    const extents: { start: number; length: number; data: boolean }[] = JSON.parse(
      await run('qemu-img', 'map', '--output=json', ...image),
    );
    return extents.filter((extent) => extent.data).map(({ start, length }) => ({ offset: start, length }));
  };
  const allocated = disk.allocation.filter(({ type }) => (type & 1) === 0);
  expect(await mapped('-f', 'raw', disk.uri)).toEqual(allocated.map(({ offset, length }) => ({ offset, length })));

  // QEMU shows dirty parts as "no data".
  const socket = disk.uri.split('socket=')[1];
  const view = disk.backup.exports[0]!.view;
  const options = `driver=nbd,export=${view},server.type=unix,server.path=${socket},x-dirty-bitmap=${context}`;
  const clean = await mapped('--image-opts', options);
  expect(complementOf(clean)).toEqual(changed);
  expectWritten(disk);
});

test('nbdinfo does not list the view, and the disk remains the default export', async () => {
  const disk = await viewUnderWrites();
  const listed = JSON.parse(await run('nbdinfo', '--json', '--list', disk.server.uri('')));
  expect(listed.exports.map((one: Record<string, unknown>) => one['export-name'])).toEqual(['disk']);
  const [byDefault] = JSON.parse(await run('nbdinfo', '--json', disk.server.uri(''))).exports;
  expect(byDefault.is_read_only).toBe(false);
});

test("libnbd's Python binding brings the last backup up to date from the dirty extents alone", async () => {
  const disk = await viewUnderWrites();
  const script = resolve(import.meta.dirname, 'read-dirty.py');
  const readBytes = Number(await run(python, script, disk.uri, context, disk.base));
  expectSameContent(disk.base, disk.copy);
  expect(readBytes).toBe(changed.reduce((sum, { length }) => sum + length, 0));
  expect(disk.backup.exports[0]).toMatchObject({ mode: 'incremental', estimatedReadBytes: readBytes });
  expectWritten(disk);
});

test("libnbd's Python binding reads all of a full backup", async () => {
  const image = makeImage(SIZE_BYTES, data);
  const server = await startTidemark(`disk=${image}`);
  const backup = await new Control(server.control).call<Backup>('POST', '/v1/backups', {
    ...{ exports: ['disk'], bitmap: 'nightly' },
  });
  const copy = join(scratchFolder(), 'copy.img');
  copyFileSync(image, copy);
  keepWriting(server.uri('disk'));
  const target = makeImage(SIZE_BYTES);
  const script = resolve(import.meta.dirname, 'read-dirty.py');
  expect(Number(await run(python, script, backup.exports[0]!.uri, context, target))).toBe(SIZE_BYTES);
  expectSameContent(target, copy);
});

/** The parts of the disk between the ranges. */
function complementOf(ranges: readonly Range[]): Range[] {
  const ends = [...ranges, { offset: SIZE_BYTES, length: 0 }];
  let end = 0;
  return ends.flatMap(({ offset, length }) => {
    const gap = { offset: end, length: offset - end };
    end = offset + length;
    return gap.length > 0 ? [gap] : [];
  });
}
