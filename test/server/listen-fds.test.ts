import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { ControlClient } from '../../src/cli/control-client.js';
import { unixPlace } from '../../src/cli/control-place.js';
import { takeListenFds } from '../../src/server/listen-fds.js';
import { freePort } from '../support/free-port.js';
import { makeImage } from '../support/image.js';
import { startPeer } from '../support/peer.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { tidemarkProgram } from '../support/tidemark.js';

describe('the variables of socket activation', () => {
  test('name the descriptors from 3 on, and are removed', () => {
    const env = { LISTEN_PID: '77', LISTEN_FDS: '2', LISTEN_FDNAMES: 'a:b', HOME: '/root' };
    expect(takeListenFds(env, 77)).toEqual([3, 4]);
    expect(env).toEqual({ HOME: '/root' });
  });

  test('are ignored when they are meant for another process', () => {
    expect(takeListenFds({ LISTEN_PID: '76', LISTEN_FDS: '2' }, 77)).toEqual([]);
    expect(takeListenFds({}, 77)).toEqual([]);
  });

  test.each(['0', 'two', '-1', '1.5', ''])('LISTEN_FDS=%j is refused', (count) => {
    expect(() => takeListenFds({ LISTEN_PID: '77', LISTEN_FDS: count }, 77)).toThrow(/LISTEN_FDS is/);
  });
});

/** The command line of a server of `image` without an address. */
function serverOf(image: string, control = join(scratchFolder(), 'control.sock')): string[] {
  const places = ['--state', join(scratchFolder(), 'state'), '--control', control];
  return [process.execPath, tidemarkProgram, 'serve', '--export', `disk=${image},bitmap=nightly`, ...places];
}

describe('a server that is started when its first client connects', () => {
  test('by systemd-socket-activate, serves on TCP and on a unix socket', async () => {
    const [path, port] = [join(scratchFolder(), 'nbd.sock'), await freePort()];
    const listen = ['--listen', path, '--listen', `127.0.0.1:${port}`];
    await startPeer('systemd-socket-activate', [...listen, ...serverOf(makeImage(MIB))], { path });
    const [unix, tcp] = [`nbd+unix:///disk?socket=${path}`, `nbd://127.0.0.1:${port}/disk`];
    await run('qemu-io', '-f', 'raw', '-c', 'write -P 7 64k 64k', unix);
    await run('qemu-io', '-f', 'raw', '-c', 'read -P 7 64k 64k', '-c', 'write -P 8 256k 1k', tcp);
    for (const uri of [unix, tcp]) {
      expect(await dirtyRanges(uri, 'nightly')).toEqual([
        { offset: 64 * 1024, length: 64 * 1024 },
        { offset: 256 * 1024, length: 64 * 1024 },
      ]);
    }
  });

  test('announces its views on the unix socket, which is faster', async () => {
    const [path, control] = [join(scratchFolder(), 'a socket.sock'), join(scratchFolder(), 'control.sock')];
    const listen = ['--listen', `127.0.0.1:${await freePort()}`, '--listen', path];
    await startPeer('systemd-socket-activate', [...listen, ...serverOf(makeImage(MIB), control)], { path });
    await run('qemu-io', '-f', 'raw', '-c', 'write -P 7 64k 64k', encodeURI(`nbd+unix:///disk?socket=${path}`));
    // Clients are served first; commands are accepted a moment later.
    const client = new ControlClient(unixPlace(control));
    const facts = await vi.waitFor(() => client.get('server'), { timeout: 60_000 });
    expect(facts).toMatchObject({ nbd: { unix: path } });
    const wanted = { exports: ['disk'], bitmap: 'nightly' };
    const begun = await client.post<{ exports: [{ uri: string }] }>(['backups'], wanted);
    const [{ uri }] = begun.exports;
    expect(uri).toMatch(/^nbd\+unix:/);
    await run('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 7 64k 64k', uri);
  });

  test('by libnbd, serves that client', async () => {
    const shown = JSON.parse(await run('nbdinfo', '--json', '--', '[', ...serverOf(makeImage(3 * MIB)), ']'));
    expect(shown.exports[0]).toMatchObject({ 'export-name': 'disk', 'export-size': 3 * MIB });
  });
});
