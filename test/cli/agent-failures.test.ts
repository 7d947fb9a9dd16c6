import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { prune } from '../../src/client/agent/prune.js';
import { tidemark } from '../support/agent.js';
import { makeImage } from '../support/image.js';
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

test('a restore onto a disk that the server serves says as what', async () => {
  const { image, server, pull } = await served();
  const directory = scratchFolder();
  expect((await pull(directory)).code).toBe(0);
  const before = readFileSync(image);
  const restore = (control: string) =>
    tidemark('restore', directory, 'vm1', '--to', image, '--force', '--control', control);
  expect(await restore(server.control)).toEqual({
    code: 1,
    stdout: '',
    stderr: `tidemark: the tidemark server serves ${image} as the export "vm1" (restore to another file, or remove the export first: tidemark export remove vm1)\n`,
  });
  expect((await restore(join(directory, 'nowhere.sock'))).stderr).toContain(`another process uses the image ${image}`);
  expect(readFileSync(image).equals(before)).toBe(true);
});

test('a pull that fails leaves none of the folders that it made, and all that were there', async () => {
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

/** The command of the line in a crontab that prunes, as a document shows it. */
function pruningLineOf(document: string): string {
  const text = readFileSync(join(import.meta.dirname, '../..', document), 'utf8');
  return /^0 +5 \* \* 0 +root +(.+)$/m.exec(text)![1]!;
}

test.each(['README.md', 'docs/backup.md'])(
  'one bad image stops the cron line of %s from pruning no other disk',
  async (document) => {
    const { pull, directory } = await pullScene('bad', 'good');
    const ids: string[] = [];
    for (let i = 0; i < 15; i++) ids.push((await pull()).id);
    expect(await prune(directory, { keep: 15, ...quiet })).toHaveLength(2);
    truncateSync(join(directory, 'bad', `${ids[14]}.qcow2`), 100);
    const line = pruningLineOf(document)
      .replaceAll('node /opt/tidemark/dist/main.js', 'tidemark')
      .replaceAll('tidemark', `${process.execPath} ${tidemarkProgram}`)
      .replaceAll('/backup', directory);
    const { code } = await outcomeOf('sh', '-c', line);
    expect(code).toBe(1);
    expect(existsSync(join(directory, 'good', `${ids[0]}.qcow2`))).toBe(false);
    expect(existsSync(join(directory, 'bad', `${ids[0]}.qcow2`))).toBe(true);
  },
);
