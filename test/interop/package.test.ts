// The package that `npm pack` makes is installed as a user would do it, and serves real clients. `npm run test:package`
// runs all other tests of this folder against such an installation.

import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { expectSameContent, makeImage } from '../support/image.js';
import { startPeer } from '../support/peer.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';

const tools = resolve(import.meta.dirname, '../tools');
const execute = promisify(execFile);

/** Packages that only tests and checks need. */
const developmentPackages = ['typescript', 'vitest', '@biomejs', 'knip', 'fast-check'];

test('an installed package can serve, and contains what it needs and nothing else', { timeout: 170_000 }, async () => {
  const prefix = scratchFolder();
  await execute(process.execPath, [join(tools, 'write-man.mjs')]);
  const { stdout } = await execute(process.execPath, [join(tools, 'install-package.mjs'), prefix]);
  const program = stdout.trim();

  const installed = join(prefix, 'lib/node_modules/tidemark');
  const packages = readdirSync(join(installed, 'node_modules'));
  expect(packages).toEqual(expect.arrayContaining(['lmdb', 'koffi', 'fastify']));
  for (const name of developmentPackages) expect(packages).not.toContain(name);
  for (const name of ['src', 'test', 'docs', 'bench']) expect(readdirSync(installed)).not.toContain(name);
  expect(existsSync(join(prefix, 'share/man/man1/tidemark.1'))).toBe(true);
  expect(existsSync(join(installed, 'packaging/systemd/tidemark.service'))).toBe(true);

  const folder = scratchFolder();
  const [image, socket, control] = [makeImage(16 * MIB), join(folder, 'nbd.sock'), join(folder, 'control.sock')];
  const places = ['--unix', socket, '--state', join(folder, 'state'), '--control', control];
  await startPeer(program, ['serve', '--export', `disk=${image},bitmap=nightly`, ...places], { path: control });
  const uri = `nbd+unix:///disk?socket=${socket}`;
  const source = makeImage(16 * MIB, [{ offset: 3 * MIB, length: 100 * KIB }]);
  await run('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', '--target-is-zero', source, uri);
  expectSameContent(image, source);
  expect(await dirtyRanges(uri, 'nightly')).toEqual([{ offset: 3 * MIB, length: 128 * KIB }]);
  expect(await run(program, 'bitmap', 'list', 'disk', '--control', control)).toMatch(
    /nightly +64 KiB +16 MiB +128 KiB/,
  );
});
