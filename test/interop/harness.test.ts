// Runs the scripts of the containers: the server's entry, its health check, the peer, and the harness against both.

import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { freePort } from '../support/free-port.js';
import { makeImage } from '../support/image.js';
import { startNbdkit } from '../support/nbd-peers.js';
import { startPeer } from '../support/peer.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

const scripts = resolve(import.meta.dirname, '../../docker');
const harness = join(scripts, 'harness.sh');

/** The variables that the entry script reads, for a server in `folder` on `port`. */
function serverVariables(folder: string, port: number): string[] {
  const program = join(folder, 'tidemark');
  writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${tidemarkProgram} "$@"\n`, { mode: 0o755 });
  return [
    `TIDEMARK=${program}`,
    `TIDEMARK_LISTEN=127.0.0.1:${port}`,
    `TIDEMARK_STATE=${join(folder, 'state')}`,
    `TIDEMARK_CONTROL=${join(folder, 'control.sock')}`,
  ];
}

test('the harness passes on tidemark and on qemu-nbd', { timeout: 120_000 }, async () => {
  const [folder, port, peerPort] = [scratchFolder(), await freePort(), await freePort()];
  const variables = serverVariables(folder, port);
  const spec = `disk=${makeImage(64 * MIB)},bitmap=nightly`;
  const server = await startPeer('env', [...variables, join(scripts, 'serve.sh'), '--export', spec], {
    path: join(folder, 'control.sock'),
  });
  const peerVariables = [`QEMU_NBD_IMAGE=${join(folder, 'peer.img')}`, `QEMU_NBD_PORT=${peerPort}`];
  await startPeer('env', [...peerVariables, 'QEMU_NBD_ADDRESS=127.0.0.1', join(scripts, 'qemu-nbd.sh')], {
    host: '127.0.0.1',
    port: peerPort,
  });

  const uris = [port, peerPort].map((each) => `nbd://127.0.0.1:${each}/disk`);
  const { code, stdout, stderr } = await outcomeOf(harness, ...uris);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain(`the bitmap of ${uris[0]} is right`);
  expect(stdout).toContain(`${uris[1]} has no bitmap nightly`);
  for (const uri of uris) expect(stdout).toContain(`${uri} passed`);

  const check = ['env', ...variables, process.execPath, join(scripts, 'healthcheck.mjs')];
  expect((await outcomeOf(check[0]!, ...check.slice(1))).code).toBe(0);
  await server.stop();
  expect((await outcomeOf(check[0]!, ...check.slice(1))).code).toBe(1);
});

test('the harness fails on a disk that forgets what is written to it', { timeout: 120_000 }, async () => {
  const uri = await startNbdkit('null', '64M');
  const { code, stderr } = await outcomeOf(harness, uri);
  expect(code).not.toBe(0);
  expect(stderr).toContain('harness: FAILED');
});
