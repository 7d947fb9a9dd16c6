import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { tidemark } from '../support/agent.js';
import { makeImage } from '../support/image.js';
import { run } from '../support/run.js';
import { startTidemark } from '../support/tidemark.js';

/** The lines of a server's log, with the fields that say the same each time. */
function told(output: string) {
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ level }) => level >= 30)
    .map(({ event, msg, export: name, exports, by, reason }) => ({
      event,
      msg,
      about: name ?? exports?.[0],
      by,
      reason,
    }));
}

test('an operator can tell from the log and from the events what happened, and who asked', async () => {
  const server = await startTidemark(`disk=${makeImage(MIB)},bitmap=nightly`);
  const command = async (...args: string[]) => {
    const { code, stdout, stderr } = await tidemark(...args, '--json', '--control', server.control);
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout);
  };
  await command('export', 'add', `extra=${makeImage(MIB)}`);
  await command('bitmap', 'add', 'extra', 'hourly');
  await run('qemu-io', '-f', 'raw', '-c', 'write -P 7 0 64k', server.uri('disk'));
  const first = await command('backup', 'begin', 'disk', '--bitmap', 'nightly');
  await command('backup', 'commit', first.id);
  const second = await command('backup', 'begin', 'disk', '--bitmap', 'nightly');
  await command('backup', 'abort', second.id);
  await command('export', 'remove', 'extra');
  const { events } = await command('events');
  const follow = await command('events', '--since', '1h', '--export', 'extra');
  expect(await server.stop()).toBe(0);

  const by = 'unix socket';
  const happened = [
    { event: 'server-started', msg: 'tidemark is serving' },
    { event: 'export-added', msg: 'an export was added', about: 'extra', by },
    { event: 'bitmaps-changed', msg: 'bitmaps were changed', about: 'extra', by },
    { msg: 'connection closed', about: 'disk', reason: 'the client disconnected' },
    { event: 'backup-begun', msg: 'a backup has begun', about: 'disk', by },
    { event: 'backup-committed', msg: 'a backup was committed', about: 'disk', by },
    { event: 'backup-begun', msg: 'a backup has begun', about: 'disk', by },
    { event: 'backup-aborted', msg: 'a backup was aborted', about: 'disk', by, reason: 'asked' },
    { event: 'export-removed', msg: 'an export was removed', about: 'extra', by },
    { msg: 'a signal asks the server to stop' },
    { event: 'server-stopping', msg: 'stopping: finishing the requests in flight' },
    { msg: 'stopped' },
  ];
  const lines = told(server.output());
  expect(lines.slice(lines.findIndex(({ event }) => event === 'server-started'))).toEqual(
    happened.map((line) => ({ event: undefined, about: undefined, by: undefined, reason: undefined, ...line })),
  );
  expect(events.map(({ type }: { type: string }) => type)).toEqual(
    happened.flatMap(({ event }) => event ?? []).slice(0, -1),
  );
  expect(events[4]).toMatchObject({
    ...{ type: 'backup-committed', backup: first.id, by, seconds: expect.any(Number) },
    parts: [{ export: 'disk', mode: 'full', estimatedReadBytes: expect.any(Number) }],
  });
  expect(follow.events.map(({ type }: { type: string }) => type)).toEqual([
    ...['export-added', 'bitmaps-changed', 'export-removed'],
  ]);
});
