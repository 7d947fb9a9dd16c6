import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { tidemark } from '../support/agent.js';
import { makeImage } from '../support/image.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemark } from '../support/tidemark.js';

/** A directory with two restore points of `vm1` and no manifest. */
async function lostManifest() {
  const directory = scratchFolder();
  const server = await startTidemark(`vm1=${makeImage(8 * MIB, [{ offset: MIB, length: MIB }])},bitmap=nightly`);
  const pull = () =>
    tidemark('pull', 'vm1', '--bitmap', 'nightly', '--to', directory, '--control', server.control, '--json');
  const ids: string[] = [];
  for (let i = 0; i < 2; i++) ids.push(JSON.parse((await pull()).stdout).id);
  const folder = join(directory, 'vm1');
  const manifest = readFileSync(join(folder, 'manifest.json'), 'utf8');
  rmSync(join(folder, 'manifest.json'));
  return { directory, folder, manifest, ids, pull };
}

test('text and JSON report what was found, and the next pull continues the chain', async () => {
  const { directory, folder, manifest, ids, pull } = await lostManifest();
  expect(await pull()).toMatchObject({ code: 1, stderr: expect.stringContaining(`tidemark repair ${directory}`) });
  const points = `  ${ids[0]}  full, sound\n  ${ids[1]}  incremental, sound\n`;
  expect(await tidemark('repair', directory, '--dry-run')).toEqual({
    code: 0,
    stdout: `vm1: the manifest is lost; a new one would have 2 restore points\n${points}`,
    stderr: '',
  });
  expect(readdirSync(folder)).not.toContain('manifest.json');
  const { code, stdout } = await tidemark('repair', directory, 'vm1', '--json');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    ...{ directory, dryRun: false },
    exports: [{ export: 'vm1', manifest: 'lost', changed: true, points: ids.map((id) => ({ id, problem: null })) }],
  });
  expect(readFileSync(join(folder, 'manifest.json'), 'utf8')).toBe(manifest);
  expect((await tidemark('repair', directory)).stdout).toBe(
    `vm1: the manifest is sound, and knows all images: 2 restore points\n${points}`,
  );
  expect(JSON.parse((await pull()).stdout).images[0]).toMatchObject({ mode: 'incremental', base: ids[1] });
});

test('a file that is left out makes the exit code 1', async () => {
  const { directory, folder } = await lostManifest();
  writeFileSync(join(folder, 'note.qcow2'), 'nonsense');
  const { code, stdout, stderr } = await tidemark('repair', directory);
  expect(code).toBe(1);
  expect(stdout).toContain('  note.qcow2  left out: it ends too early\n');
  expect(stderr).toMatch(/^tidemark: not everything could be repaired: vm1 \(.+\)\n$/);
});
