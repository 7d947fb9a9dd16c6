import { chmodSync, copyFileSync, mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { run } from '../support/run.js';
import { type Kernel, modulePaths } from './kernel.js';
import { programPath } from './programs.js';

export interface InitramfsParts {
  readonly kernel: Kernel;
  readonly modules: readonly string[];
  /** The script of the first process, for busybox. */
  readonly init: string;
  /** Empty folders, besides those for the kernel's own file systems. */
  readonly folders: readonly string[];
  /** Programs of this machine, copied with their libraries. */
  readonly programs: readonly string[];
}

/**
 * Writes the initial file system of a kernel to `path`: busybox, the init script, modules in /modules, and programs.
 */
export async function makeInitramfs(path: string, parts: InitramfsParts): Promise<void> {
  const root = `${path}.files`;
  for (const folder of ['bin', 'proc', 'sys', 'dev', 'tmp', 'modules', ...parts.folders]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  copyFileSync(programPath('busybox'), join(root, 'bin/busybox'));
  copyFileSync(parts.init, join(root, 'init'));
  chmodSync(join(root, 'init'), 0o755);
  for (const [i, module] of (await modulePaths(parts.kernel, parts.modules)).entries()) {
    copyFileSync(module, join(root, 'modules', `${String(i).padStart(2, '0')}-${basename(module)}`));
  }
  for (const program of parts.programs) await copyProgram(programPath(program), root);
  await run('sh', '-c', 'cd "$1" && find . | cpio --quiet -o -H newc > "$2"', 'sh', root, path);
}

/** Copies a program and its libraries to the same paths under `root`. */
export async function copyProgram(program: string, root: string): Promise<void> {
  const libraries = [...(await run('ldd', program)).matchAll(/\/\S+/g)].map(([library]) => library);
  for (const file of [program, ...libraries]) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    copyFileSync(file, join(root, file));
  }
}
