// Fetches the Debian kernel that the tests boot in an emulator, and unpacks it. It is not installed: nothing of this
// machine's own boot changes. Plain Node, because it runs before there are any packages.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const kernel = resolve(import.meta.dirname, '../../node_modules/.cache/kernel');

/** @param {string} command @param {string[]} args @param {string} [cwd] */
const run = (command, args, cwd) => execFileSync(command, args, { cwd, encoding: 'utf8' });

/** The package with the kernel itself; the one with the lasting name only depends on it. */
function packageName() {
  const found = /^ *Depends: (linux-image-\S+)$/m.exec(run('apt-cache', ['depends', 'linux-image-cloud-amd64']));
  if (!found) throw new Error('no package depends on a kernel');
  return found[1] ?? '';
}

function fetchKernel() {
  // Made complete under another name: a fetch that was interrupted leaves nothing that looks like a kernel.
  const partial = `${kernel}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  run('apt-get', ['download', '-o', 'APT::Sandbox::User=root', packageName()], partial);
  for (const file of readdirSync(partial)) {
    run('dpkg-deb', ['-x', join(partial, file), partial]);
    rmSync(join(partial, file));
  }
  // Installing would have made the list of what each module needs.
  for (const version of readdirSync(join(partial, 'lib/modules'))) run('/sbin/depmod', ['-b', partial, version]);
  renameSync(partial, kernel);
}

if (!existsSync(kernel)) {
  console.log('Fetching a kernel for the tests');
  try {
    // The lists may be older than the packages; who may not bring them up to date tries with what is there.
    if (process.getuid?.() === 0) run('apt-get', ['update']);
    fetchKernel();
  } catch (error) {
    console.error(`The tests boot Debian's kernel linux-image-cloud-amd64, which could not be fetched: ${error}`);
    process.exitCode = 1;
  }
}
