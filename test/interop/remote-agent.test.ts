import { randomBytes } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { tidemark } from '../support/agent.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';
import { said, twoMachines } from '../support/two-machines.js';

const DISKS = ['vm1', 'vm2', 'vm3'];
const DISK_BYTES = 8 * MIB;
const MARKER_BYTES = 16;

/** Content that cannot be mistaken: the disk's marker, over and over. */
function filled(marker: Buffer, length: number): Buffer {
  return Buffer.alloc(length, marker);
}

test('a backup of three disks from another machine, with certificates, shows nothing of their content on the wire', async () => {
  const folder = scratchFolder();
  const { server, client, capture } = await twoMachines();
  const pki = join(folder, 'pki');
  const made = await tidemark('tls', 'init', pki, '--host', server.address, '--client', 'backup1');
  expect(made.code, made.stderr).toBe(0);

  const markers = new Map(DISKS.map((name) => [name, randomBytes(MARKER_BYTES)]));
  const contents = new Map<string, Buffer>();
  const writeDisk = (name: string, start: number, length: number, marker: Buffer) => {
    const content = contents.get(name) ?? Buffer.alloc(DISK_BYTES);
    content.fill(filled(marker, length), start, start + length);
    contents.set(name, content);
  };
  for (const [name, marker] of markers) {
    writeDisk(name, 0, 4 * MIB, marker);
    const image = join(folder, `${name}.img`);
    writeFileSync(image, filled(marker, 4 * MIB));
    truncateSync(image, DISK_BYTES);
  }
  const serving = server.start(
    ...[process.execPath, tidemarkProgram, 'serve', '--json', '--state', join(folder, 'state')],
    ...DISKS.flatMap((name) => ['--export', `${name}=${join(folder, `${name}.img`)},bitmap=nightly`]),
    ...['--export', `spare=${join(folder, 'spare.img')},size=8M`],
    ...['--listen', `${server.address}:10809`, '--http', `${server.address}:8443`, '--unix', join(folder, 'nbd.sock')],
    ...['--tls', 'optional', '--tls-certificates', join(pki, 'server')],
    ...['--access', 'cn:backup1,rights=backup,exports=vm*', '--access', 'cn:backup1,rights=write,exports=spare'],
  );
  await said(serving, '"pid"');

  const recording = await capture();
  const certificates = ['--tls-certificates', join(pki, 'clients/backup1')];
  const control = ['--control', `https://${server.address}:8443`];
  const agent = async (...args: string[]) => {
    const { code, stdout, stderr } = await client.run(process.execPath, tidemarkProgram, ...args);
    expect(code, stderr).toBe(0);
    return stdout;
  };
  const backups = join(folder, 'backups');
  const pull = async () => {
    const args = ['--bitmap', 'nightly', '--to', backups, '--json'];
    return JSON.parse(await agent('pull', ...DISKS, ...args, ...control, ...certificates)).images;
  };
  expect(await pull()).toMatchObject(DISKS.map((name) => ({ export: name, mode: 'full', readBytes: 4 * MIB })));
  const before = new Map([...contents].map(([name, content]) => [name, Buffer.from(content)]));
  const first = (await pull())[0].id;
  for (const [index, name] of DISKS.entries()) {
    const marker = randomBytes(MARKER_BYTES);
    markers.set(`${name}, changed`, marker);
    writeDisk(name, (5 + index) * MIB, MIB / 2, marker);
    const at = join(folder, `${name}.change`);
    writeFileSync(at, filled(marker, MIB / 2));
    const uri = `nbd+unix:///${name}?socket=${join(folder, 'nbd.sock')}`;
    const { code, stderr } = await server.run('qemu-io', '-f', 'raw', '-c', `write -s ${at} ${5 + index}M 512k`, uri);
    expect(code, stderr).toBe(0);
  }
  expect(await pull()).toMatchObject(DISKS.map((name) => ({ export: name, mode: 'incremental', readBytes: MIB / 2 })));

  for (const name of DISKS) {
    const to = join(folder, `${name}.restored`);
    await agent('restore', backups, name, '--to', to);
    expect(readFileSync(to).equals(contents.get(name)!), name).toBe(true);
    await agent('restore', backups, name, '--at', first, '--to', `${to}.first`);
    expect(readFileSync(`${to}.first`).equals(before.get(name)!), name).toBe(true);
  }
  await agent('restore', backups, 'vm2', '--to', `nbds://${server.address}/spare`, ...certificates);
  expect(readFileSync(join(folder, 'spare.img')).equals(contents.get('vm2')!)).toBe(true);
  await agent('prune', backups, '--keep', '1');
  await agent('verify', backups);

  const packets = await recording.stop();
  expect(packets.length).toBeGreaterThan(DISKS.length * 4 * MIB);
  // Half a marker, because a packet may begin anywhere.
  for (const [name, marker] of markers) {
    for (const half of [marker.subarray(0, 8), marker.subarray(8)]) expect(packets.includes(half), name).toBe(false);
  }

  const denied = await client.run('nbdinfo', '--list', `nbd://${server.address}`);
  expect(denied.stdout).not.toMatch(/vm1/);
}, 180_000);

test('the recording shows what is sent in the clear', async () => {
  const folder = scratchFolder();
  const { server, client, capture } = await twoMachines();
  const marker = randomBytes(MARKER_BYTES);
  writeFileSync(join(folder, 'vm1.img'), filled(marker, MIB));
  const serving = server.start(
    ...[process.execPath, tidemarkProgram, 'serve', '--json', '--state', join(folder, 'state')],
    ...['--export', `vm1=${join(folder, 'vm1.img')}`, '--listen', `${server.address}:10809`],
    ...['--access', `address:${client.address},rights=read,without-tls`],
  );
  await said(serving, '"pid"');
  const recording = await capture();
  const { code, stderr } = await client.run('nbdcopy', `nbd://${server.address}/vm1`, join(folder, 'copy.img'));
  expect(code, stderr).toBe(0);
  expect((await recording.stop()).includes(marker.subarray(0, 8))).toBe(true);
});
