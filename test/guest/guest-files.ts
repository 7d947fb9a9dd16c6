import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from '../support/run.js';
import { copyProgram, makeInitramfs } from './initramfs.js';
import { findKernel, type Kernel } from './kernel.js';
import { programPath } from './programs.js';

const root = resolve(import.meta.dirname, '../..');

const SYSTEM_BYTES = 512 * 1024 * 1024;

/** The service that takes commands in the guest requires it. */
export const TOKEN = 'nobody-else-reaches-the-guest';

/** The files that a guest with a server starts from. */
export interface GuestFiles {
  readonly kernel: Kernel;
  readonly initramfs: string;
  /** A file system with tidemark, Node and the libraries of both. */
  readonly system: string;
}

/** Makes them in `folder`. @throws Error that says what this machine lacks */
export async function makeGuestFiles(folder: string): Promise<GuestFiles> {
  const [kernel, initramfs, system] = [findKernel(), join(folder, 'initramfs'), join(folder, 'system.img')];
  await makeInitramfs(initramfs, {
    kernel,
    modules: ['virtio_pci', 'virtio_blk', 'virtio_net', 'ext4'],
    init: join(import.meta.dirname, 'init.sh'),
    folders: ['system'],
    programs: [],
  });
  await makeSystem(system);
  return { kernel, initramfs, system };
}

/** An image of `sizeBytes` with an ext4 file system, which holds a copy of `content` if that is given. */
export async function makeFileSystem(path: string, sizeBytes: number, content?: string): Promise<void> {
  const from = content === undefined ? [] : ['-d', content];
  await run(programPath('mke2fs'), '-q', '-t', 'ext4', ...from, path, `${sizeBytes / 1024}K`);
}

async function makeSystem(path: string): Promise<void> {
  const folder = `${path}.files`;
  for (const name of ['bin', 'proc', 'dev', 'tmp', 'data', 'tidemark']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  await copyProgram(process.execPath, folder);
  copyFileSync(process.execPath, join(folder, 'bin/node'));
  writeFileSync(join(folder, 'token'), TOKEN, { mode: 0o600 });
  for (const part of ['dist', 'package.json', ...productionPackages()]) {
    cpSync(join(root, part), join(folder, 'tidemark', part), { recursive: true });
  }
  await makeFileSystem(path, SYSTEM_BYTES, folder);
}

/** The folders of the packages that tidemark needs to run, from npm's list of what is installed. */
function productionPackages(): string[] {
  const text = readFileSync(join(root, 'node_modules/.package-lock.json'), 'utf8');
  const { packages }: { packages: Record<string, { dev?: boolean }> } = JSON.parse(text);
  return Object.keys(packages).filter((path) => !packages[path]!.dev);
}
