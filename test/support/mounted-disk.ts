import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { scratchFolder } from './scratch-folder.js';

/** The smallest size that mkfs.xfs accepts. */
const XFS_BYTES = 300 * MIB;

/** A file system for one test. */
export interface MountedDisk {
  /** Its mount point, for commands in its namespace. */
  readonly folder: string;
  /** The same folder, seen from outside. */
  readonly path: string;
  /** Runs a shell command in its namespace. */
  command(line: string): Promise<void>;
}

/**
 * Runs `mount COMMAND FOLDER` in a mount namespace that a shell holds open. From outside it is reached through /proc.
 * It ends with the test, or with the process of the test.
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

/** An XFS, which can clone files. Needs a loop device, and therefore root. */
export async function xfsDisk(): Promise<MountedDisk> {
  const image = join(scratchFolder(), 'xfs');
  writeFileSync(image, '');
  truncateSync(image, XFS_BYTES);
  execFileSync('mkfs.xfs', ['-q', '-m', 'reflink=1', image]);
  return mountedDisk(`-t xfs -o loop ${image}`);
}
