import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startPeer } from '../support/peer.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

/** The mode and group of the NBD socket of a server with a umask that allows everything. */
async function accessOf(...options: string[]) {
  const folder = scratchFolder();
  const socket = join(folder, 'nbd.sock');
  const places = ['--unix', socket, '--state', join(folder, 'state')];
  const command = [process.execPath, tidemarkProgram, 'serve', ...places, ...options];
  // The control socket is created last, so the mode is final by then.
  await startPeer('sh', ['-c', 'umask 0; exec "$@"', 'sh', ...command], { path: join(folder, 'state/control.sock') });
  const { mode, gid } = statSync(socket);
  return { mode: (mode & 0o777).toString(8), gid };
}

const gid = process.getegid!();

test('only its owner can use the NBD socket, whatever the umask', async () => {
  expect((await accessOf()).mode).toBe('600');
});

test('--unix-mode opens the NBD socket to others', async () => {
  expect((await accessOf('--unix-mode', '0666')).mode).toBe('666');
});

test('--unix-group opens the NBD socket to a group', async () => {
  expect(await accessOf('--unix-group', String(gid))).toEqual({ mode: '660', gid });
});

test('a group that does not exist is refused', async () => {
  const folder = scratchFolder();
  const places = ['--unix', join(folder, 'nbd.sock'), '--state', join(folder, 'state')];
  const outcome = await outcomeOf(
    process.execPath,
    tidemarkProgram,
    'serve',
    ...places,
    '--unix-group',
    'no-such-group',
  );
  expect(outcome.stderr).toContain('there is no group "no-such-group" in /etc/group (use the number of the group)\n');
  expect(outcome.code).toBe(1);
});
