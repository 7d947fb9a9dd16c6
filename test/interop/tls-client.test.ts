import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { tidemark } from '../support/agent.js';
import { makeDirtyImage, startNbdkitOnPort, startQemuNbdOnPort } from '../support/nbd-peers.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';
import { pskFile, TestAuthority } from '../support/tls-files.js';

const CONTEXT = 'qemu:dirty-bitmap:nightly';

/** A folder of certificates for a server, one for a client, and a file of keys. */
async function secrets() {
  const authority = await TestAuthority.create();
  return {
    server: await authority.serverFolder(),
    client: await authority.clientFolder('CN=backup1'),
    keys: pskFile({ alice: 'ab'.repeat(32) }),
  };
}

async function done(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await tidemark(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}

/** With qemu-nbd's options for TLS. */
const credentials = (kind: string, options: string) => [
  '--object',
  `${kind},id=t,endpoint=server,${options}`,
  '--tls-creds=t',
];

describe('qemu-nbd with TLS', () => {
  test('is pulled in full and in increments, with certificates and with keys', async () => {
    const { server, client, keys } = await secrets();
    const image = makeDirtyImage([{ offset: MIB, length: 64 * KIB, pattern: 1 }]);
    const served = ['--format=qcow2', '--read-only', '--bitmap=nightly'];
    const port = await startQemuNbdOnPort(
      image.path,
      ...served,
      ...credentials('tls-creds-x509', `verify-peer=yes,dir=${server}`),
    );
    const directory = scratchFolder();
    const uri = `nbds://localhost:${port}/`;
    const args = ['pull', 'vm1', '--uri', uri, '--context', CONTEXT, '--to', directory, '--json'];
    const first = JSON.parse(await done(...args, '--tls-certificates', client)).images[0];
    expect(first).toMatchObject({ mode: 'full', readBytes: 64 * KIB });
    const increment = [process.execPath, tidemarkProgram, ...args, '--since', first.id];
    const { code, stdout, stderr } = await outcomeOf('env', `TIDEMARK_TLS_CERTIFICATES=${client}`, ...increment);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout).images[0]).toMatchObject({ mode: 'incremental', base: first.id });

    const keyPort = await startQemuNbdOnPort(
      image.path,
      ...served,
      ...credentials('tls-creds-psk', `dir=${dirname(keys)}`),
    );
    const byKey = `nbds://alice@localhost:${keyPort}/`;
    const pulled = JSON.parse(
      await done('pull', 'vm2', '--uri', byKey, '--to', directory, '--json', '--tls-psk', keys),
    );
    expect(pulled.images[0]).toMatchObject({ mode: 'full' });
    const content = Buffer.alloc(image.sizeBytes);
    content.fill(1, MIB, MIB + 64 * KIB);
    for (const name of ['vm1', 'vm2']) {
      const target = join(scratchFolder(), 'target.raw');
      writeFileSync(target, Buffer.alloc(image.sizeBytes, 9));
      const to = await startQemuNbdOnPort(
        target,
        '--format=raw',
        ...credentials('tls-creds-x509', `verify-peer=yes,dir=${server}`),
      );
      const targetUri = `nbds://localhost:${to}/?tls-certificates=${client}`;
      await done('restore', directory, name, '--to', targetUri);
      const reader = await NbdClient.connect(targetUri);
      expect((await reader.read(0, image.sizeBytes)).equals(content)).toBe(true);
      await reader.disconnect();
    }
  });

  test('is mapped', async () => {
    const { keys } = await secrets();
    const image = makeDirtyImage([{ offset: MIB, length: 64 * KIB, pattern: 1 }]);
    const port = await startQemuNbdOnPort(
      image.path,
      ...['--format=qcow2', '--read-only', '--bitmap=nightly'],
      ...credentials('tls-creds-psk', `dir=${dirname(keys)}`),
    );
    const map = JSON.parse(await done('map', `nbds://alice@localhost:${port}/`, '--tls-psk', keys, '--json'));
    const dirty = map.contexts.find(({ name }: { name: string }) => name === CONTEXT);
    expect(dirty.extents).toContainEqual(expect.objectContaining({ offset: MIB, length: 64 * KIB, status: 1 }));
  });
});

describe('nbdkit with TLS', () => {
  test.each(['certificates', 'keys'])('is pulled with %s', async (kind) => {
    const { server, client, keys } = await secrets();
    const tls = kind === 'keys' ? [`--tls-psk=${keys}`] : [`--tls-certificates=${server}`, '--tls-verify-peer'];
    const port = await startNbdkitOnPort('--tls=require', ...tls, 'data', '@1048576 7*65536', 'size=16M');
    const own = kind === 'keys' ? ['--tls-psk', keys] : ['--tls-certificates', client];
    const directory = scratchFolder();
    await done('pull', 'vm1', '--uri', `nbds://localhost:${port}/`, '--to', directory, ...own, '--prove');
    const to = join(scratchFolder(), 'restored.img');
    await done('restore', directory, 'vm1', '--to', to);
    const nbdkit = `nbds://localhost:${port}/?tls-type=${kind === 'keys' ? 'psk' : 'x509'}`;
    const { code, stderr } = await tidemark('pull', 'vm1', '--uri', nbdkit, '--to', directory);
    expect(code, stderr).toBe(1);
    expect(stderr).toMatch(kind === 'keys' ? /there are none/ : /not from an authority that this client trusts/);
  });
});
