import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Backup } from '../../src/api/backup.js';
import { KIB, MIB } from '../../src/base/units.js';
import { controlOf } from '../support/control.js';
import { makeImage } from '../support/image.js';
import { startNbdkit } from '../support/nbd-peers.js';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemarkIn } from '../support/tidemark.js';
import { pskFile, TestAuthority } from '../support/tls-files.js';

const KEY = randomBytes(32).toString('hex');

/** A client's side of TLS, in the words of libnbd and of QEMU. */
interface ClientTls {
  readonly serverOptions: readonly string[];
  readonly user: string;
  readonly parameters: string;
  readonly qemuObject: string;
}

const ways: Record<string, () => Promise<ClientTls>> = {
  certificates: async () => {
    const authority = await TestAuthority.create();
    const folder = await authority.clientFolder('CN=backup1');
    return {
      serverOptions: ['--tls-certificates', await authority.serverFolder()],
      user: '',
      parameters: `tls-certificates=${folder}`,
      qemuObject: `tls-creds-x509,id=tls0,endpoint=client,dir=${folder}`,
    };
  },
  keys: async () => {
    const psk = pskFile({ alice: KEY, bob: randomBytes(32).toString('hex') });
    return {
      serverOptions: ['--tls-psk', psk],
      user: 'alice@',
      parameters: `tls-psk-file=${psk}`,
      qemuObject: `tls-creds-psk,id=tls0,endpoint=client,dir=${dirname(psk)},username=alice`,
    };
  },
};

/** A server that requires TLS, with some data on its disk, and how clients reach it. */
async function serve(way: string, threads: number) {
  const tls = await ways[way]!();
  const image = makeImage(8 * MIB, [{ offset: MIB, length: 256 * KIB }]);
  const options = ['--tls', 'required', '--threads', String(threads), ...tls.serverOptions];
  const server = await startTidemarkIn(scratchFolder(), [`disk=${image},bitmap=nightly`], options);
  const place = `${tls.user}localhost:${server.port}`;
  // QEMU's NBD driver takes its credentials beside the address.
  const qemu = `driver=nbd,host=localhost,port=${server.port},export=disk,tls-creds=tls0`;
  return {
    image,
    uri: `nbds://${place}/disk?${tls.parameters}`,
    plainUri: `nbd://127.0.0.1:${server.port}/disk`,
    qemu: ['--object', tls.qemuObject, '--image-opts', qemu],
    qemuOptions: qemu,
    qemuObject: ['--object', tls.qemuObject],
  };
}

describe.each([
  ['certificates', 1],
  ['certificates', 3],
  ['keys', 1],
  ['keys', 3],
] as const)('with %s and %i threads', (way, threads) => {
  test('nbdinfo shows the export and its contexts', async () => {
    const { uri, plainUri } = await serve(way, threads);
    const shown = JSON.parse(await run('nbdinfo', '--json', uri));
    expect(shown).toMatchObject({ TLS: true, structured: true });
    expect(shown.exports[0]).toMatchObject({
      'export-size': 8 * MIB,
      contexts: ['base:allocation', 'qemu:allocation-depth', 'qemu:dirty-bitmap:nightly'],
    });
    expect(JSON.parse(await run('nbdinfo', '--json', '--list', uri)).exports).toHaveLength(1);
    expect((await outcomeOf('nbdinfo', plainUri)).code).not.toBe(0);
  });

  test('nbdcopy reads and writes the disk over several connections', async () => {
    const { uri, image } = await serve(way, threads);
    const copy = join(scratchFolder(), 'copy');
    await run('nbdcopy', '--connections=4', uri, copy);
    expect(readFileSync(copy).equals(readFileSync(image))).toBe(true);
    writeFileSync(copy, randomBytes(8 * MIB));
    await run('nbdcopy', '--connections=4', '--flush', copy, uri);
    expect(readFileSync(copy).equals(readFileSync(image))).toBe(true);
  });

  test('qemu-img compares, and qemu-io writes and reads', async () => {
    const { qemu, qemuObject, qemuOptions, image } = await serve(way, threads);
    expect(await run('qemu-img', 'info', ...qemu)).toContain('virtual size: 8 MiB');
    await run(
      'qemu-io',
      ...qemuObject,
      '-c',
      'write -P 7 64k 1M',
      '-c',
      'read -P 7 64k 1M',
      '-c',
      'flush',
      '--image-opts',
      qemuOptions,
    );
    const local = `driver=raw,file.driver=file,file.locking=off,file.filename=${image}`;
    expect(await run('qemu-img', 'compare', ...qemu, qemuOptions.replace(/.*/, local))).toContain('identical');
  });

  test('python3-libnbd reads the extents of a bitmap', async () => {
    const { uri } = await serve(way, threads);
    const script = `
import nbd, sys
h = nbd.NBD()
h.add_meta_context("qemu:dirty-bitmap:nightly")
h.set_uri_allow_local_file(True)
h.connect_uri(sys.argv[1])
assert h.get_tls_negotiated()
h.pwrite(b"x" * 65536, 131072)
seen = []
h.block_status(h.get_size(), 0, lambda context, offset, entries, error: seen.extend(entries))
print(seen)
h.shutdown()
`;
    expect((await run('/usr/bin/python3', '-c', script, uri)).trim()).toBe(
      `[131072, 0, 65536, 1, ${8 * MIB - 196608}, 0]`,
    );
  });
});

test('a view is read over TLS, in each thread', async () => {
  const psk = pskFile({ alice: KEY });
  const image = makeImage(4 * MIB, [{ offset: MIB, length: 256 * KIB }]);
  const options = ['--tls', 'required', '--threads', '2', '--tls-psk', psk];
  const server = await startTidemarkIn(scratchFolder(), [`disk=${image},bitmap=nightly`], options);
  const uriOf = (name: string) => `nbds://alice@127.0.0.1:${server.port}/${name}?tls-psk-file=${psk}`;
  const before = readFileSync(image);
  const control = controlOf(server);
  const { id } = await control.call<Backup>('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly' });
  const changed = join(scratchFolder(), 'changed');
  writeFileSync(changed, randomBytes(4 * MIB));
  await run('nbdcopy', '--flush', changed, uriOf('disk'));
  const copy = join(scratchFolder(), 'copy');
  await run('nbdcopy', '--connections=2', uriOf(`disk@${id}`), copy);
  expect(readFileSync(copy).equals(before)).toBe(true);
  expect(readFileSync(image).equals(readFileSync(changed))).toBe(true);
});

const fourConnections = ['--numjobs=4', '--size=4M', '--offset_increment=4M', '--iodepth=8'];
const verified = ['--verify=crc32c', '--verify_state_save=0', '--verify_fatal=1', '--do_verify=1'];

/** A job of fio that writes 16 MiB at random over four connections, and reads them back. */
const fioJob = (uri: string) => [
  ...['fio', '--name=job', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--bs=4k'],
  ...[...fourConnections, ...verified, '--output-format=json', '--output=report.json'],
];

/** Checks fio's report of that job. */
function expectVerified(folder: string): void {
  const { jobs } = JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8'));
  expect(jobs).toHaveLength(4);
  for (const { error, read } of jobs) expect([error, read.io_bytes]).toEqual([0, 4 * MIB]);
}

test('fio verifies what it wrote, with the certificates that it finds in the home folder of its user', async () => {
  const authority = await TestAuthority.create();
  const home = scratchFolder();
  const pki = join(home, '.pki', 'libnbd');
  mkdirSync(dirname(pki));
  cpSync(await authority.clientFolder('CN=fio'), pki, { recursive: true });
  const options = ['--tls', 'required', '--threads', '3', '--tls-certificates', await authority.serverFolder()];
  const server = await startTidemarkIn(scratchFolder(), [`disk=${makeImage(16 * MIB)}`], options);
  // As root, libnbd looks in /etc instead. In the URI, fio allows no files.
  const user = process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--clear-groups'] : [];
  if (user.length > 0) await run('chown', '-R', '65534', home);
  await run('env', '-C', home, `HOME=${home}`, ...user, ...fioJob(`nbds://localhost:${server.port}/disk`));
  expectVerified(home);
});

test('fio, which takes no keys, verifies what it wrote through nbdkit, which does', async () => {
  const psk = pskFile({ alice: KEY });
  const image = makeImage(16 * MIB);
  const options = ['--tls', 'required', '--threads', '3', '--tls-psk', psk];
  const server = await startTidemarkIn(scratchFolder(), [`disk=${image},bitmap=nightly`], options);
  const uri = `nbds://alice@localhost:${server.port}/disk?tls-psk-file=${psk}`;
  const folder = scratchFolder();
  // A file of keys can only be named in the URI, and fio (3.33 as 3.39) does not tell libnbd to allow that.
  const { code, stderr } = await outcomeOf('env', '-C', folder, ...fioJob(uri));
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/local file access \(tls-psk-file\) is not allowed/);

  const target = ['hostname=localhost', `port=${server.port}`, 'export=disk'];
  const relay = await startNbdkit('nbd', ...target, 'tls=require', 'tls-username=alice', `tls-psk=${psk}`);
  await run('env', '-C', folder, ...fioJob(relay));
  expectVerified(folder);
  expect(await dirtyRanges(uri, 'nightly')).toEqual([{ offset: 0, length: 16 * MIB }]);
});

test('a client with the wrong key is refused', async () => {
  const psk = pskFile({ alice: KEY });
  const server = await startTidemarkIn(scratchFolder(), [`disk=${makeImage(MIB)}`], ['--tls-psk', psk]);
  const wrong = pskFile({ alice: randomBytes(32).toString('hex') });
  const { code, stderr } = await outcomeOf(
    'nbdinfo',
    `nbds://alice@127.0.0.1:${server.port}/disk?tls-psk-file=${wrong}`,
  );
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/gnutls_handshake/);
});
