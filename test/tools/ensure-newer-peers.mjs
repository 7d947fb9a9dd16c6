// Fetches NBD programs of a newer Debian than this machine may have, and unpacks them beside the packages. They are not
// installed: the tests start them with the loader and the libraries that are unpacked with them. Plain Node, because it
// runs before there are any packages.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const peers = resolve(import.meta.dirname, '../../node_modules/.cache/newer-peers');
const SUITE = 'trixie';
const PACKAGES = ['base-files', 'libnbd-bin', 'python3-libnbd', 'qemu-utils', 'nbdkit'];

/** @param {string} command @param {string[]} args */
const run = (command, args) => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });

/** Fetches the packages and all that they need, with lists and a cache of their own, so that the machine's stay as they are. */
function fetchPeers() {
  // It is completed under another name, so that an interrupted fetch leaves nothing that looks complete.
  const partial = `${peers}.partial`;
  rmSync(partial, { recursive: true, force: true });
  const apt = join(partial, 'apt');
  for (const folder of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(apt, folder), { recursive: true });
  const sources = join(apt, 'sources.list');
  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
  writeFileSync(sources, `deb [signed-by=${keyring}] http://deb.debian.org/debian ${SUITE} main\n`);
  writeFileSync(join(apt, 'status'), '');
  const settings = [
    `Dir::Etc::sourcelist=${sources}`,
    'Dir::Etc::sourceparts=-',
    `Dir::State::lists=${join(apt, 'lists')}`,
    `Dir::State::status=${join(apt, 'status')}`,
    `Dir::Cache=${join(apt, 'cache')}`,
    'APT::Sandbox::User=root',
    'Acquire::Languages=none',
  ].flatMap((setting) => ['-o', setting]);
  run('apt-get', [...settings, 'update']);
  run('apt-get', [...settings, 'install', '--download-only', '--yes', '--no-install-recommends', ...PACKAGES]);
  const archives = join(apt, 'cache/archives');
  const files = readdirSync(archives).filter((file) => file.endsWith('.deb'));
  // It has the links by which /lib is /usr/lib.
  files.sort((one, other) => Number(other.startsWith('base-files_')) - Number(one.startsWith('base-files_')));
  for (const file of files) run('dpkg-deb', ['-x', join(archives, file), join(partial, 'root')]);
  rmSync(apt, { recursive: true });
  renameSync(partial, peers);
}

if (!existsSync(peers)) {
  console.log(`Fetching newer NBD programs for the tests, from Debian ${SUITE}`);
  try {
    fetchPeers();
  } catch (error) {
    console.error(`The tests use NBD programs of Debian ${SUITE}, which could not be fetched: ${error}`);
    process.exitCode = 1;
  }
}
