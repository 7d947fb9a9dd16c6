// Fetches the Debian kernel that the tests boot in an emulator, and unpacks it. It is not installed, so this machine
// boots as before. Plain Node, because it runs before there are any packages.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const kernel = resolve(import.meta.dirname, '../../node_modules/.cache/kernel');

/** @param {string} command @param {string[]} args @param {string} [cwd] */
const run = (command, args, cwd) => execFileSync(command, args, { cwd, encoding: 'utf8' });

/** The package with the kernel itself. The package whose name stays the same only depends on it. */
function packageName() {
  const found = /^ *Depends: (linux-image-\S+)$/m.exec(run('apt-cache', ['depends', 'linux-image-cloud-amd64']));
  if (!found) throw new Error('no package depends on a kernel');
  return found[1] ?? '';
}

function fetchKernel() {
  // It is completed under another name, so that an interrupted fetch leaves nothing that looks like a kernel.
  const partial = `${kernel}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  run('apt-get', ['download', '-o', 'APT::Sandbox::User=root', packageName()], partial);
  for (const file of readdirSync(partial)) {
    run('dpkg-deb', ['-x', join(partial, file), partial]);
    rmSync(join(partial, file));
  }
  // Installing would have made the list of dependencies between modules.
  for (const version of readdirSync(join(partial, 'lib/modules'))) run('/sbin/depmod', ['-b', partial, version]);
  renameSync(partial, kernel);
}

if (!existsSync(kernel)) {
  console.log('Fetching a kernel for the tests');
  try {
    // The package lists may be out of date. A user who may not update them tries without.
    if (process.getuid?.() === 0) run('apt-get', ['update']);
    fetchKernel();
  } catch (error) {
    console.error(`The tests boot Debian's kernel linux-image-cloud-amd64, which could not be fetched: ${error}`);
    process.exitCode = 1;
  }
}
