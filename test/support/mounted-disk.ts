import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { scratchFolder } from './scratch-folder.js';

/** The smallest that mkfs.xfs makes. */
const XFS_BYTES = 300 * MIB;

/** A file system of a test's own. */
export interface MountedDisk {
  /** Where it is mounted, for commands in its namespace. */
  readonly folder: string;
  /** The same from outside. */
  readonly path: string;
  /** Runs a shell command in its namespace. */
  command(line: string): Promise<void>;
}

/**
 * Mounts by `mount COMMAND FOLDER` in a mount namespace that a shell holds open; from outside it is reached through
 * /proc. It goes when the test is over, or when the test's process ends.
 */
export async function mountedDisk(mount: string): Promise<MountedDisk> {
  const folder = scratchFolder();
  const asRoot = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const holder = spawn('unshare', [...asRoot, '--mount', 'sh'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = once(holder, 'exit');
  onTestFinished(async () => {
    holder.stdin.end();
    await gone;
  });
  const command = async (line: string) => {
    holder.stdin.write(`${line} && echo done || echo failed\n`);
    const [answer] = await once(holder.stdout, 'data');
    if (String(answer) !== 'done\n') throw new Error(`${line} failed`);
  };
  await command(`mount ${mount} ${folder}`);
  return { folder, path: join(`/proc/${holder.pid}/root`, folder), command };
}

/** An XFS, which can clone files. It takes a loop device, and so root. */
export async function xfsDisk(): Promise<MountedDisk> {
  const image = join(scratchFolder(), 'xfs');
  writeFileSync(image, '');
  truncateSync(image, XFS_BYTES);
  execFileSync('mkfs.xfs', ['-q', '-m', 'reflink=1', image]);
  return mountedDisk(`-t xfs -o loop ${image}`);
}
