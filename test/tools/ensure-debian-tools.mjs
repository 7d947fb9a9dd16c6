// Installs the Debian packages whose programs the tests use, or says which ones to install and fails, because a test
// must never pass without its program. Plain Node, because it runs before there are any packages.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The programs in each package. */
const programsByPackage = {
  'qemu-utils': ['qemu-img', 'qemu-io', 'qemu-nbd'],
  'qemu-system-common': ['qemu-storage-daemon'],
  'libnbd-bin': ['nbdinfo', 'nbdcopy', 'nbddump', 'nbdfuse'],
  'python3-libnbd': ['nbdsh'],
  'nbd-client': ['nbd-client'],
  'nbd-server': ['nbd-server'],
  nbdkit: ['nbdkit'],
  fio: ['fio'],
  xxhash: ['xxh64sum'],
  // For the guests with Linux's own NBD client.
  'qemu-system-x86': ['qemu-system-x86_64'],
  'busybox-static': ['busybox'],
  cpio: ['cpio'],
  kmod: ['modprobe', 'depmod'],
  e2fsprogs: ['mke2fs', 'e2fsck', 'debugfs'],
  xfsprogs: ['mkfs.xfs', 'xfs_repair', 'xfs_io'],
  systemd: ['systemd-socket-activate', 'systemd-analyze'],
  // For two machines with a cable between them.
  iproute2: ['ip'],
  // A browser for the tests of the page.
  chromium: ['chromium'],
  // Shells with completions.
  zsh: ['zsh'],
  fish: ['fish'],
};

/** Debian leaves the sbin folders out of an ordinary user's PATH. */
const searchPath = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];

/** @param {string} program */
const isInstalled = (program) => searchPath.some((folder) => existsSync(join(folder, program)));

const missingPackages = () =>
  Object.entries(programsByPackage)
    .filter(([, programs]) => !programs.every(isInstalled))
    .map(([name]) => name);

/** @param {string} command @param {string[]} args */
function run(command, ...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status } = spawnSync(command, args, { env, stdio: ['ignore', 'inherit', 'inherit'] });
  return status === 0;
}

/** @param {string[]} packages */
function install(packages) {
  run('apt-get', 'update');
  run('apt-get', 'install', '--yes', '--no-install-recommends', ...packages);
  // Its package starts a daemon now and at every boot, which would take the port of the demo.
  if (packages.includes('nbd-server')) {
    run('/etc/init.d/nbd-server', 'stop');
    run('update-rc.d', 'nbd-server', 'disable');
  }
}

let missing = missingPackages();
if (missing.length > 0 && process.getuid?.() === 0 && isInstalled('apt-get')) {
  console.log(`Installing the tools that the tests use: ${missing.join(' ')}`);
  install(missing);
  missing = missingPackages();
}
if (missing.length > 0) {
  console.error(`The tests need programs that are not here. As root: apt-get install ${missing.join(' ')}`);
  process.exitCode = 1;
}
