import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { startPull, tidemark } from '../support/agent.js';
import { expectSameContent, makeImage } from '../support/image.js';
import { checksumByHand } from '../support/qcow2-files.js';
import type { Outcome } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { smallDisk } from '../support/small-disk.js';
import { startTidemark } from '../support/tidemark.js';

const ERROR_LINE = /^tidemark: .+ \(.+\)\n$/;
const ID = /\d{8}-\d{6}-\w{4}/;

/** A server of the 8 MiB disk `vm1` with 1 MiB of data, and an agent that backs it up. */
async function scene(directory = scratchFolder()) {
  const image = makeImage(8 * MIB, [{ offset: MIB, length: MIB }]);
  const server = await startTidemark(`vm1=${image},bitmap=nightly`);
  const pullArgs = ['vm1', '--bitmap', 'nightly', '--to', directory, '--control', server.control];
  const text = async (...args: string[]) => {
    const outcome = await tidemark(...args);
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    return outcome.stdout;
  };
  return {
    ...{ server, image, directory, pullArgs, text },
    folder: join(directory, 'vm1'),
    pull: (...args: string[]) => tidemark('pull', ...pullArgs, ...args),
    json: async (...args: string[]) => JSON.parse(await text(...args, '--json')),
    async write(offset: number, length: number) {
      const client = await NbdClient.connect(server.uri('vm1'));
      await client.write(offset, Buffer.alloc(length, 7));
      await client.disconnect();
    },
  };
}

function expectRefusal({ code, stdout, stderr }: Outcome, expectedCode: number, what: string): void {
  expect(stderr).toMatch(ERROR_LINE);
  expect(stderr).toContain(what);
  expect({ code, stdout }).toEqual({ code: expectedCode, stdout: '' });
}

/** Replaces the IDs and times of backups in a text with fixed ones. */
function timeless(text: string): string {
  return text
    .replace(new RegExp(ID, 'g'), 'ID')
    .replace(/[\d.]+ s,/g, 'TIME s,')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME');
}

test('the text output says what was done', async () => {
  const { text, pullArgs, write, directory, folder, image } = await scene();
  const first = timeless(await text('pull', ...pullArgs));
  expect(first).toMatch(/^vm1: full backup: bitmap 'nightly' has no base/);
  expect(first).toContain(`vm1: full, 1 MiB read in TIME s, ${folder}/ID.qcow2 (1.3 MiB)\n`);
  await write(0, 512);
  expect(timeless(await text('pull', ...pullArgs))).toBe(
    `vm1: incremental, 64 KiB read in TIME s, ${folder}/ID.qcow2 (384 KiB)\n`,
  );
  expect(timeless(await text('verify', directory))).toBe(
    [
      'EXPORT  RESTORE POINT         MODE            FILE  STATE',
      'vm1     ID  full         1.3 MiB  good',
      'vm1     ID  incremental  384 KiB  good',
      '',
    ].join('\n'),
  );
  const to = join(scratchFolder(), 'restored.img');
  expect(timeless(await text('restore', directory, 'vm1', '--to', to))).toBe(
    `restored vm1 as of TIME (ID) to ${to}: 8 MiB\n`,
  );
  expectSameContent(to, image);
  expect(await text('prune', directory, '--keep', '1')).toMatch(/^vm1: 1 kept, 1 dropped, [\d.]+ [KM]iB freed\n$/);
});

test('with --json each command prints one document', async () => {
  const { json, pullArgs, directory, folder, pull } = await scene();
  const { code, stdout, stderr } = await pull('--json');
  expect(code).toBe(0);
  expect(stderr).toMatch(/^vm1: full backup: .*\n$/);
  const pulled = JSON.parse(stdout);
  const { id } = pulled;
  expect(pulled).toEqual({
    id: expect.stringMatching(ID),
    images: [
      {
        ...{ export: 'vm1', path: join(folder, `${id}.qcow2`), id, base: null, mode: 'full' },
        ...{ takenAt: expect.any(String), durationSeconds: expect.any(Number) },
        fullReason: { code: 'no-base', detail: expect.any(String) },
        ...{ sizeBytes: 8 * MIB, dirtyBytes: 8 * MIB, readBytes: MIB, dataBytes: MIB, zeroBytes: 0 },
        ...{ fileBytes: MIB + 5 * 64 * KIB, checksum: expect.stringMatching(/^xxh64-sum:[0-9a-f]{16}$/) },
      },
    ],
  });
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
  const { export: _export, path: _path, ...image } = pulled.images[0];
  expect(manifest).toEqual({ format: 3, export: 'vm1', images: [image] });

  const second = await json('pull', ...pullArgs);
  expect(second.images[0]).toMatchObject({ mode: 'incremental', base: id, dirtyBytes: 0, readBytes: 0 });
  expect(await json('verify', directory)).toMatchObject({ directory, exports: [{ export: 'vm1', problem: null }] });
  const to = join(scratchFolder(), 'restored.img');
  expect(await json('restore', directory, 'vm1', '--to', to, '--at', id)).toMatchObject({ id, to, sizeBytes: 8 * MIB });
  expect(await json('prune', directory, '--keep', '1')).toMatchObject({
    ...{ directory, keep: 1, policy: { last: 1 } },
    exports: [{ export: 'vm1', kept: [second.id], dropped: [id], merged: [second.id], problem: null }],
  });
});

test('--full starts a new chain', async () => {
  const { pull } = await scene();
  await pull();
  const { code, stdout } = await pull('--full');
  expect(code).toBe(0);
  expect(stdout).toContain('vm1: full backup: a full backup was asked for\nvm1: full, ');
});

test('backup list shows a full read that the server did not ask for', async () => {
  const { pull, json, server, folder } = await scene();
  const control = ['--control', server.control];
  const { id: first } = JSON.parse((await pull('--json')).stdout);
  renameSync(join(folder, `${first}.qcow2`), join(folder, 'away'));
  const second = JSON.parse((await pull('--json')).stdout);
  expect(second.images[0]).toMatchObject({ mode: 'full', fullReason: { code: 'chain-broken' } });
  const { id: third } = JSON.parse((await pull('--json')).stdout);
  const { backups } = await json('backup', 'list', ...control);
  expect(backups).toMatchObject([
    { id: first, exports: [{ mode: 'full', fullReason: { code: 'no-base' } }] },
    { id: second.id, exports: [{ mode: 'full', base: null, fullReason: second.images[0].fullReason }] },
    { id: third, exports: [{ mode: 'incremental', base: second.id }] },
  ]);
  const { stdout } = await tidemark('backup', 'list', ...control);
  expect(stdout).toMatch(new RegExp(`${second.id} +nightly +vm1 +full \\(chain-broken\\) +committed`));
  expect(stdout).toMatch(new RegExp(`${third} +nightly +vm1 +incremental +committed`));
});

test('a pull by URI makes no increment from a bitmap that counts from another backup', async () => {
  const { pull, write, server, directory, image } = await scene();
  await pull();
  await write(0, 64 * KIB);
  await pull('--to', scratchFolder());
  // The bitmap is clean now, and the newest image lacks the write.
  const uri = ['--uri', server.uri('vm1'), '--context', 'qemu:dirty-bitmap:nightly', '--to', directory];
  const { code, stdout } = await tidemark('pull', 'vm1', ...uri);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^vm1: full backup: plain NBD .*\nvm1: full, /);
  const to = join(scratchFolder(), 'restored.img');
  expect((await tidemark('restore', directory, 'vm1', '--to', to)).code).toBe(0);
  expectSameContent(to, image);
});

test('--prove compares the chain with the disk', async () => {
  const { pull, write, directory, json } = await scene();
  expect((await pull('--prove')).stdout).toMatch(/^vm1: full, .*\.qcow2 \(1\.3 MiB\), proven$/m);
  await write(0, 512);
  expect((await pull('--prove')).stdout).toMatch(/^vm1: incremental, .*, proven\n$/);
  expect((await json('verify', directory)).exports[0].points).toMatchObject([{ proven: true }, { proven: true }]);
});

test('other tools compute the same checksum', async () => {
  const { pull, folder } = await scene();
  await pull();
  const { images } = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
  expect(images[0].checksum).toBe(await checksumByHand(join(folder, `${images[0].id}.qcow2`)));
});

describe('a failure is reported in one line', () => {
  test('an export or a server that is not there', async () => {
    const { directory, server } = await scene();
    const args = ['--bitmap', 'nightly', '--to', directory];
    expectRefusal(await tidemark('pull', 'vm9', ...args, '--control', server.control), 1, 'there is no export "vm9"');
    const nowhere = join(scratchFolder(), 'nowhere.sock');
    expectRefusal(await tidemark('pull', 'vm1', ...args, '--control', nowhere), 1, 'no server answers');
    expect(readdirSync(directory)).toEqual([]);
  });

  test('a directory that cannot be made', async () => {
    const { server } = await scene();
    const file = join(scratchFolder(), 'file');
    writeFileSync(file, '');
    const args = ['vm1', '--bitmap', 'nightly', '--control', server.control];
    expectRefusal(await tidemark('pull', ...args, '--to', file), 1, 'cannot be made');
  });

  test('a bitmap that another backup holds', async () => {
    const { server, pull } = await scene();
    const held = await tidemark('backup', 'begin', 'vm1', '--bitmap', 'nightly', '--control', server.control);
    expect(held.code).toBe(0);
    expectRefusal(await pull(), 1, 'nightly');
  });

  test('images that are not good', async () => {
    const { directory, pull, folder } = await scene();
    await pull();
    const name = readdirSync(folder).find((file) => file.endsWith('.qcow2'))!;
    writeFileSync(join(folder, name), 'nonsense');
    const { code, stdout, stderr } = await tidemark('verify', directory);
    expect(code).toBe(1);
    expect(stdout).toContain('the file has 8 bytes instead of');
    expect(stderr).toMatch(/^tidemark: 1 of 1 restore points in .* is damaged \(.*--full.*\)\n$/);
    const to = join(scratchFolder(), 'restored.img');
    expectRefusal(await tidemark('restore', directory, 'vm1', '--to', to), 1, 'is not good');
  });
});

test('a full target destroys nothing good, and the next pull succeeds once there is space', async () => {
  const small = await smallDisk(12 * MIB);
  const { pull, write, server, folder, directory } = await scene(join(small.path, 'backups'));
  expect((await pull()).code).toBe(0);
  const before = readdirSync(folder);
  small.fill();
  await write(0, 7 * MIB);
  expectRefusal(await pull(), 1, 'is full');
  expect(readdirSync(folder)).toEqual(before);
  expect((await tidemark('verify', directory)).code).toBe(0);
  const { backups } = JSON.parse((await tidemark('backup', 'list', '--json', '--control', server.control)).stdout);
  expect(backups.map(({ state }: { state: string }) => state).sort()).toEqual(['aborted', 'committed']);

  small.makeRoom();
  const { code, stdout } = await pull();
  expect(code).toBe(0);
  expect(stdout).toMatch(/^vm1: incremental, /);
});

test('a server that goes away, and an agent that is interrupted, leave no file', async () => {
  const { pullArgs, write, folder, server } = await scene();
  await write(0, 8 * MIB);
  const interrupted = await (await startPull(folder, ...pullArgs, '--bwlimit', '1M')).end('SIGTERM');
  expectRefusal({ ...interrupted, stdout: '' }, 1, 'interrupted');
  const deserted = await startPull(folder, ...pullArgs, '--bwlimit', '1M');
  await server.stop('SIGKILL');
  const { code, stderr } = await deserted.ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(ERROR_LINE);
  expect(readdirSync(join(folder, '..'))).toEqual([]);
});

test('a lease that the server ends is reported with the reason', async () => {
  const { pullArgs, write, folder, server } = await scene();
  await write(0, 8 * MIB);
  const agent = await startPull(folder, ...pullArgs, '--bwlimit', '1M');
  const control = ['--control', server.control];
  const { backups } = JSON.parse((await tidemark('backup', 'list', '--json', ...control)).stdout);
  expect((await tidemark('backup', 'abort', backups[0].id, ...control)).code).toBe(0);
  const { code, stderr } = await agent.ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(new RegExp(`^tidemark: the server ended backup ${backups[0].id}: .+ \\(.+\\)\n$`));
});

describe('a command that is used wrongly ends with 2', () => {
  test.each([
    [['pull', 'vm1', '--to', 'd'], 'give --bitmap NAME for a tidemark server'],
    [['pull', 'vm1', '--bitmap', 'b'], "required option '--to <DIR>' not specified"],
    [['pull', '--bitmap', 'b', '--to', 'd'], "missing required argument 'EXPORT'"],
    [['pull', 'vm1', '--bitmap', 'b', '--to', 'd', '--context', 'c'], '--context needs --uri'],
    [['pull', 'vm1', 'vm2', '--uri', 'nbd://h', '--to', 'd'], '--uri takes one EXPORT'],
    [['pull', 'vm1', '--bitmap', 'b', '--uri', 'nbd://h', '--to', 'd'], '--bitmap and --uri exclude each other'],
    [['pull', 'vm1', '--bitmap', 'b', '--to', 'd', '--since', 'x'], '--since needs --uri and --context'],
    [['pull', 'vm1', '--uri', 'nbd://h', '--to', 'd', '--since', 'x'], '--since needs --uri and --context'],
    [['pull', 'vm1', '--uri', 'nbd://h', '--to', 'd', '--context', 'c', '--since', 'x', '--full'], '--since asks for'],
    [['pull', 'vm1', '--bitmap', 'b', '--to', 'd', '--bwlimit', 'fast'], 'Expected a size'],
    [['pull', 'vm1', '--bitmap', 'b', '--to', 'd', '--connections', '0'], 'Expected 1 to 16'],
    [['prune', 'd', '--keep', '0'], 'Expected a whole number above 0'],
    [['prune', 'd'], 'prune has to know what to keep (give --keep-last'],
    [['prune', 'd', '--keep', '1', '--keep-last', '2'], "cannot be used with option '--keep-last <N>'"],
    [['prune', 'd', '--keep-daily', '1.5'], 'Expected a whole number above 0, or unlimited'],
    [['restore', 'd', 'vm1'], "required option '--to <FILE|NBD-URI>' not specified"],
    [['verify'], "missing required argument 'DIR'"],
  ])('%j', async (args, what) => {
    expectRefusal(await tidemark(...args), 2, what);
  });
});
