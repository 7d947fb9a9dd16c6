import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { scratchFolder } from './scratch-folder.js';

/** A disk image on a file system that a process serves. It hangs while that process is stopped. */
export interface FuseDisk {
  readonly path: string;
  hang(): void;
  goOn(): void;
}

/** The image is in memory, until the end of the test. Needs /dev/fuse, and therefore root. */
export async function fuseDisk(size: string): Promise<FuseDisk> {
  const path = join(scratchFolder(), 'disk.img');
  const server = spawn('nbdfuse', [path, '--command', 'nbdkit', '-s', 'memory', size], { stdio: 'inherit' });
  const gone = once(server, 'exit');
  onTestFinished(async () => {
    server.kill('SIGCONT');
    server.kill();
    await gone;
  });
  await vi.waitUntil(() => existsSync(path), { timeout: 30_000 });
  return { path, hang: () => void server.kill('SIGSTOP'), goOn: () => void server.kill('SIGCONT') };
}
