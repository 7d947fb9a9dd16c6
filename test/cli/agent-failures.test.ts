import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { prune } from '../../src/agent/prune.js';
import { MIB } from '../../src/base/units.js';
import { tidemark } from '../support/agent.js';
import { makeImage } from '../support/image.js';
import { attachLoop } from '../support/loop-device.js';
import { pullScene, quiet } from '../support/pull-scene.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { smallDisk } from '../support/small-disk.js';
import { startTidemark, tidemarkProgram } from '../support/tidemark.js';

const DISK_BYTES = 2 * MIB;

async function served() {
  const image = makeImage(DISK_BYTES, [{ offset: 0, length: MIB }]);
  const server = await startTidemark(`vm1=${image},bitmap=nightly`);
  const pull = (directory: string, name = 'vm1') =>
    tidemark('pull', name, '--bitmap', 'nightly', '--to', directory, '--control', server.control);
  return { image, server, pull };
}

test('a restore onto a served disk names the export', async () => {
  const { image, server, pull } = await served();
  const directory = scratchFolder();
  expect((await pull(directory)).code).toBe(0);
  const before = readFileSync(image);
  const restore = (control: string) =>
    tidemark('restore', directory, 'vm1', '--to', image, '--force', '--control', control);
  expect(await restore(server.control)).toEqual({
    code: 1,
    stdout: '',
    stderr: `tidemark: the tidemark server serves ${image} as the export "vm1" (restore to another file, or remove the export first with tidemark export remove vm1)\n`,
  });
  expect((await restore(join(directory, 'nowhere.sock'))).stderr).toContain(
    `another process is using the image ${image}`,
  );
  expect(readFileSync(image).equals(before)).toBe(true);
});

test('a restore onto a served block device names the export', async () => {
  const { server, pull } = await served();
  const directory = scratchFolder();
  expect((await pull(directory)).code).toBe(0);
  const device = attachLoop(makeImage(DISK_BYTES));
  const onServer = (...args: string[]) => tidemark(...args, '--control', server.control);
  expect((await onServer('export', 'add', `raw=${device}`)).code).toBe(0);
  const restore = () => onServer('restore', directory, 'vm1', '--to', device, '--force');
  const { code, stderr } = await restore();
  expect(code).toBe(1);
  expect(stderr).toContain(`tidemark: the tidemark server serves ${device} as the export "raw" (`);
  expect((await onServer('export', 'remove', 'raw')).code).toBe(0);
  expect(await restore()).toMatchObject({ code: 0 });
});

test('a missing folder is reported as missing', async () => {
  const folder = scratchFolder();
  const nowhere = join(folder, 'nowhere');
  const commands = [['verify'], ['prune', '--keep', '1'], ['repair'], ['restore', '--to', join(folder, 'x'), 'vm1']];
  for (const [command = '', ...args] of commands) {
    const { code, stderr } = await tidemark(command, nowhere, ...args);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`there is no folder ${nowhere} (`),
    });
  }
  const { server, pull } = await served();
  const add = await tidemark('export', 'add', `x=${nowhere}/x.img,size=1M`, '--control', server.control);
  expect(add.stderr).toContain(
    `cannot create the image ${join(nowhere, 'x.img')}: there is no folder ${nowhere} (create it first`,
  );
  expect((await pull(folder)).code).toBe(0);
  const restore = async (to: string) => (await tidemark('restore', folder, 'vm1', '--to', to)).stderr;
  expect(await restore(join(nowhere, 'x.img'))).toBe(`tidemark: there is no folder ${nowhere} (make it first)\n`);
  expect(await restore(`${nowhere}/`)).toContain(`${nowhere}/ names a folder, not a file (`);
  expect(existsSync(nowhere)).toBe(false);
});

test('a lost manifest is not counted as a restore point', async () => {
  const { pull, directory, folder } = await pullScene();
  await pull();
  rmSync(join(folder, 'manifest.json'));
  const { code, stdout, stderr } = await tidemark('verify', directory);
  expect(code).toBe(1);
  expect(stdout).toContain(`${folder} has images and no manifest (tidemark repair ${directory} `);
  expect(stderr).toMatch(/^tidemark: 1 of 1 folders in .* could not be checked \(see the table above /);
});

test('a client ID that is not a number is a usage error', async () => {
  const { code, stderr } = await tidemark('client', 'disconnect', 'x');
  expect(code).toBe(2);
  expect(stderr).toContain("command-argument value 'x' is invalid for argument 'ID'. Expected the number of a client");
});

test('a failed pull removes the folders that it made and keeps the others', async () => {
  const { pull } = await served();
  const directory = scratchFolder();
  mkdirSync(join(directory, 'mine'));
  const { code, stderr } = await pull(join(directory, 'mine/deep/er'), 'vm9');
  expect(code).toBe(1);
  expect(stderr).toContain('there is no export "vm9"');
  expect(readdirSync(directory)).toEqual(['mine']);
  expect(readdirSync(join(directory, 'mine'))).toEqual([]);
});

test('a pull to a read-only file system says so, and changes nothing on the server', async () => {
  const { pull, server } = await served();
  const disk = await smallDisk(8 * MIB);
  const directory = join(disk.path, 'backups');
  expect((await pull(directory)).code).toBe(0);
  await disk.makeReadOnly();
  for (const to of [directory, join(disk.path, 'others')]) {
    const { code, stderr } = await pull(to);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^tidemark: .*: its file system is read-only \(mount .* for writing, or choose another .+\)\n$/,
    );
  }
  const { stdout } = await tidemark('backup', 'list', '--json', '--control', server.control);
  expect(JSON.parse(stdout).backups).toHaveLength(1);
});

/** The prune command in the crontab line that a document shows. */
function pruningLineOf(document: string): string {
  const text = readFileSync(join(import.meta.dirname, '../..', document), 'utf8');
  return /^0 +5 \* \* 0 +root +(.+)$/m.exec(text)![1]!;
}

test.each(['README.md', 'docs/backup.md'])(
  'one bad image stops the cron line of %s from pruning no disk',
  async (document) => {
    const { pull, directory } = await pullScene('bad', 'good');
    const ids: string[] = [];
    for (let i = 0; i < 16; i++) ids.push((await pull()).id);
    expect(await prune(directory, { policy: { last: 16 }, ...quiet })).toHaveLength(2);
    truncateSync(join(directory, 'bad', `${ids[15]}.qcow2`), 100);
    const line = pruningLineOf(document)
      .replaceAll('node /opt/tidemark/dist/main.js', 'tidemark')
      .replaceAll('tidemark', `${process.execPath} ${tidemarkProgram}`)
      .replaceAll('/backup', directory);
    const { code, stderr } = await outcomeOf('sh', '-c', line);
    expect(stderr).toContain(`1 of 32 restore points in ${directory} is damaged`);
    expect(code).toBe(0);
    for (const name of ['good', 'bad']) {
      // The damaged image is the newest one, so it stays, and 14 good ones besides it.
      const left = readdirSync(join(directory, name)).filter((file) => file.endsWith('.qcow2'));
      expect(left.sort()).toEqual(
        ids
          .slice(1)
          .map((id) => `${id}.qcow2`)
          .sort(),
      );
    }
  },
);
