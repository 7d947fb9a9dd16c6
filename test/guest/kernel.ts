import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from '../support/run.js';
import { programPath } from './programs.js';

/** test/tools/ensure-kernel.mjs unpacks it here. */
const folder = resolve(import.meta.dirname, '../../node_modules/.cache/kernel');

/** A Debian kernel, unpacked and not installed. */
export interface Kernel {
  readonly version: string;
  /** The path of the file that the machine boots. */
  readonly image: string;
}

/** @throws Error if it was not fetched */
export function findKernel(): Kernel {
  const modules = join(folder, 'lib/modules');
  const version = existsSync(modules) ? readdirSync(modules).at(0) : undefined;
  if (version === undefined) throw new Error('a guest needs a kernel: run node test/tools/ensure-kernel.mjs');
  return { version, image: join(folder, `boot/vmlinuz-${version}`) };
}

/** The files of these modules and of those that they need, in loading order. A built-in module has no file. */
export async function modulePaths({ version }: Kernel, modules: readonly string[]): Promise<string[]> {
  const paths = new Set<string>();
  for (const module of modules) {
    const shown = await run(
      programPath('modprobe'),
      ...['--dirname', folder, '--set-version', version, '--show-depends', module],
    );
    for (const [, path] of shown.matchAll(/^insmod (\S+)/gm)) paths.add(path!);
  }
  return [...paths];
}
