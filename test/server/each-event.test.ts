import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Backup } from '../../src/api/backup.js';
import type { Event } from '../../src/api/event.js';
import { eventTypes } from '../../src/api/values.js';
import { KIB, MIB } from '../../src/base/units.js';
import { controlOf } from '../support/control.js';
import { makeImage } from '../support/image.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemarkIn } from '../support/tidemark.js';

/** Receives webhooks, and answers at once. */
async function receiveEvents() {
  const received: Event[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (part) => (body += part));
    request.on('end', () => {
      received.push(JSON.parse(body));
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return { received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

test('each event is once in the history, once in the log, and reaches a hook once', async () => {
  const folder = scratchFolder();
  const { received, url } = await receiveEvents();
  // An image in memory is not cloned, so the backup needs scratch space.
  const image = makeImage(4 * MIB, [{ offset: 0, length: 2 * MIB }], scratchFolder('tmpfs'));
  const config = join(folder, 'tidemark.toml');
  writeFileSync(config, 'log-level = "info"\n');
  const server = await startTidemarkIn(
    folder,
    [`disk=${image},bitmap=nightly`],
    [
      ...['--config', config],
      ...['--hook', `all,url=${url}`],
      ...['--threshold', 'room,of=state,size=8000T'],
      ...['--threshold', 'dirty,bitmap=nightly,size=64K'],
      ...['--hook', 'broken,events=export-added,command=/bin/false,tries=1'],
    ],
  );
  const control = controlOf(server);
  writeFileSync(config, 'log-level = "debug"\n');
  await control.call('POST', '/v1/reload');
  writeFileSync(config, 'log-level = "chatty"\n');
  await expect(control.call('POST', '/v1/reload')).rejects.toThrow();
  await control.call('POST', '/v1/exports', { name: 'extra', path: makeImage(MIB) });
  await control.call('POST', '/v1/exports/extra/resize', { sizeBytes: 2 * MIB });
  await control.call('POST', '/v1/exports/extra/bitmaps', { name: 'hourly' });
  await control.call('DELETE', '/v1/exports/extra');
  const begin = () =>
    control.call<Backup>('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly', scratchLimitBytes: MIB });
  const types = () => received.map(({ type }) => type);
  const first = await begin();
  await run('qemu-io', '-f', 'raw', '-c', `write 0 ${640 * KIB}`, server.uri('disk'));
  await expect.poll(types).toContain('backup-scratch-filling');
  await expect.poll(() => received.find(({ kind }) => kind === 'dirty')?.type).toBe('threshold-crossed');
  await control.call('POST', `/v1/backups/${first.id}/commit`);
  await control.call('POST', `/v1/backups/${(await begin()).id}/abort`);
  await control.call('POST', `/v1/backups/${(await begin()).id}/commit`);
  await expect.poll(types).toContain('threshold-cleared');
  await expect.poll(types).toContain('hook-failed');
  expect(await server.stop()).toBe(0);

  const told = (event: Partial<Event>) => ({ id: event.id, type: event.type });
  const linesOf = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  const kept: Event[] = linesOf(readFileSync(join(folder, 'state', 'events.jsonl'), 'utf8'));
  const logged = linesOf(server.output()).filter(({ event }) => event !== undefined);
  expect(kept.map(({ id }) => id)).toEqual(kept.map((_, i) => i + 1));
  expect(logged.map(({ event, id }) => ({ id, type: event }))).toEqual(kept.map(told));
  expect(received.toSorted((a, b) => a.id - b.id)).toEqual(kept);
  expect(kept.map(({ type }) => type)).toEqual(expect.arrayContaining([...eventTypes]));
});
