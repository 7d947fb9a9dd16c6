import { readFileSync, statSync } from 'node:fs';
import { relative } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Backup } from '../../src/api/backup.js';
import { silentLog } from '../../src/base/log.js';
import { MIB } from '../../src/base/units.js';
import { ExportRegistry } from '../../src/export/registry.js';
import { resolveConfig } from '../../src/server/config.js';
import { openExport } from '../../src/server/open-export.js';
import { controlApiOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';
import { native, writeImage } from '../support/scratch-device.js';

type Described = Backup;

/** Sends a request to the control API and expects an answer without an error. */
async function askOver(exports: ExportRegistry) {
  const { ask } = await controlApiOver(exports);
  return async <Document>(method: 'GET' | 'POST', url: string, body?: object) => {
    const { status, text, document } = await ask(method, url, body);
    expect(status, text).toBeLessThan(300);
    return document as Document;
  };
}

/** The control API of a server that serves `path` as the export "disk", in memory, where images cannot be cloned. */
async function askOverImage(path: string, readOnly = false) {
  const { persistence } = resolveConfig();
  const host = { store: undefined, persistence, posix: native, log: silentLog };
  const exports = new ExportRegistry((spec) => openExport(spec, host));
  onTestFinished(() => exports.close());
  await exports.add({ name: 'disk', path, readOnly });
  return askOver(exports);
}

const wanted = { exports: ['disk'], bitmap: 'nightly' };
const disksOf = ({ exports }: Described) => exports.map(({ disk }) => disk);

function locationOf(path: string) {
  const { dev, ino } = statSync(path, { bigint: true });
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return { path, id: `${dev}:${ino}`, bootId };
}

test.each([
  ['writable', false],
  ['read-only', true],
])('a backup of a %s image says where the image is, until the backup ends', async (_what, readOnly) => {
  const path = writeImage({ place: 'tmpfs', content: MIB });
  const ask = await askOverImage(path, readOnly);
  const begun = await ask<Described>('POST', '/v1/backups', wanted);
  const disk = locationOf(path);
  expect(disksOf(begun)).toEqual([disk]);
  const url = `/v1/backups/${begun.id}`;
  expect(disksOf(await ask('GET', url))).toEqual([disk]);
  expect(disksOf(await ask('POST', `${url}/commit`))).toEqual([undefined]);
  expect(disksOf(await ask('GET', url))).toEqual([undefined]);
});

test('the path is absolute, because an agent may work in another directory', async () => {
  const path = writeImage({ place: 'tmpfs', content: MIB });
  const ask = await askOverImage(relative(process.cwd(), path));
  expect(disksOf(await ask('POST', '/v1/backups', wanted))).toEqual([locationOf(path)]);
});

test('a disk that is not a file has no location', async () => {
  const ask = await askOver(await memoryRegistry([{ name: 'disk' }]));
  const begun = await ask<Described>('POST', '/v1/backups', wanted);
  expect(begun.exports[0]).not.toHaveProperty('disk');
});
