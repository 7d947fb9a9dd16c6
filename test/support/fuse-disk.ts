import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { scratchFolder } from './scratch-folder.js';

/** A disk image on a file system that a process serves, and which hangs while that is stopped. */
export interface FuseDisk {
  readonly path: string;
  hang(): void;
  goOn(): void;
}

/** It lies in memory, and is gone when the test is over. It takes /dev/fuse, and so root. */
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
