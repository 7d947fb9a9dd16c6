import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { run } from '../support/run.js';

const root = resolve(import.meta.dirname, '../..');

/** Which Debian package has which of the programs that a guest is made with. */
const programs = {
  'qemu-system-x86': '/usr/bin/qemu-system-x86_64',
  'busybox-static': '/bin/busybox',
  cpio: '/usr/bin/cpio',
  e2fsprogs: '/sbin/mke2fs',
  kmod: '/sbin/modprobe',
} as const;

/** Modules of a Debian kernel; one that is built in is passed over. */
const kernelModules = ['virtio_pci', 'virtio_blk', 'virtio_net', 'ext4'];

/** What takes commands in the guest demands it. */
export const TOKEN = 'nobody-else-reaches-the-guest';

/** Paths of what a guest starts from. */
export interface GuestFiles {
  readonly qemu: string;
  readonly kernel: string;
  readonly initramfs: string;
  /** A file system with tidemark, Node and the libraries of both. */
  readonly system: string;
}

/** Makes them in `folder`, from what is installed here. @throws Error that says which Debian packages are missing */
export async function makeGuestFiles(folder: string): Promise<GuestFiles> {
  const version = kernelVersion();
  const missing = Object.entries(programs).flatMap(([name, path]) => (existsSync(path) ? [] : [name]));
  if (version === undefined) missing.push('linux-image-cloud-amd64');
  if (missing.length > 0)
    throw new Error(`a guest needs what is not here. As root: apt-get install ${missing.join(' ')}`);
  const [initramfs, system] = [join(folder, 'initramfs'), join(folder, 'system.img')];
  await makeInitramfs(version!, initramfs);
  await makeSystem(system);
  return { qemu: programs['qemu-system-x86'], kernel: `/boot/vmlinuz-${version}`, initramfs, system };
}

/** An image of `sizeBytes` with an ext4 file system, which holds a copy of `content` when that is given. */
export async function makeFileSystem(path: string, sizeBytes: number, content?: string): Promise<void> {
  const from = content === undefined ? [] : ['-d', content];
  await run(programs.e2fsprogs, '-q', '-t', 'ext4', ...from, path, `${sizeBytes / 1024}K`);
}

/** The newest kernel that has its modules. */
function kernelVersion(): string | undefined {
  const versions = existsSync('/lib/modules') ? readdirSync('/lib/modules') : [];
  return versions
    .filter((version) => existsSync(`/boot/vmlinuz-${version}`))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .at(-1);
}

async function makeInitramfs(version: string, path: string): Promise<void> {
  const folder = makeFolders(`${path}.files`, ['bin', 'proc', 'dev', 'modules', 'system']);
  copyFileSync(programs['busybox-static'], join(folder, 'bin/busybox'));
  copyFileSync(join(import.meta.dirname, 'init.sh'), join(folder, 'init'));
  chmodSync(join(folder, 'init'), 0o755);
  const modules = await modulePaths(version);
  for (const [i, module] of modules.entries()) {
    copyFileSync(module, join(folder, 'modules', `${String(i).padStart(2, '0')}-${basename(module)}`));
  }
  await run('sh', '-c', 'cd "$1" && find . | cpio --quiet -o -H newc > "$2"', 'sh', folder, path);
}

/** In the order in which they have to be loaded. */
async function modulePaths(version: string): Promise<string[]> {
  const paths = new Set<string>();
  for (const module of kernelModules) {
    const shown = await run(programs.kmod, '--set-version', version, '--show-depends', module);
    for (const [, path] of shown.matchAll(/^insmod (\S+)/gm)) paths.add(path!);
  }
  return [...paths];
}

async function makeSystem(path: string): Promise<void> {
  const folder = makeFolders(`${path}.files`, ['bin', 'proc', 'dev', 'tmp', 'data', 'tidemark']);
  const libraries = (await run('ldd', process.execPath)).matchAll(/\/\S+/g);
  for (const [library] of libraries) copyTo(library, join(folder, library));
  copyTo(process.execPath, join(folder, 'bin/node'));
  writeFileSync(join(folder, 'token'), TOKEN, { mode: 0o600 });
  for (const part of ['dist', 'package.json', ...productionPackages()]) {
    cpSync(join(root, part), join(folder, 'tidemark', part), { recursive: true });
  }
  await makeFileSystem(path, 512 * 1024 * 1024, folder);
}

/** The folders of the packages that tidemark needs to run, from npm's list of what is installed. */
function productionPackages(): string[] {
  const text = readFileSync(join(root, 'node_modules/.package-lock.json'), 'utf8');
  const { packages }: { packages: Record<string, { dev?: boolean }> } = JSON.parse(text);
  return Object.keys(packages).filter((path) => !packages[path]!.dev);
}

function makeFolders(parent: string, names: readonly string[]): string {
  for (const name of names) mkdirSync(join(parent, name), { recursive: true });
  return parent;
}

function copyTo(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}
