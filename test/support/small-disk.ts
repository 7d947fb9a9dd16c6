import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { scratchFolder } from './scratch-folder.js';

/** A file system of its own, which can be filled and made read-only. */
export interface SmallDisk {
  readonly path: string;
  /** Leaves no room for another block. */
  fill(): void;
  makeRoom(): void;
  /** Not while a file on it is open for writing. */
  makeReadOnly(): Promise<void>;
}

/** Mounts a tmpfs in a mount namespace that a shell holds open; from outside it is reached through /proc. */
export async function smallDisk(sizeBytes: number): Promise<SmallDisk> {
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
  await command(`mount -t tmpfs -o size=${sizeBytes} tmpfs ${folder}`);
  const path = join(`/proc/${holder.pid}/root`, folder);
  const ballast = join(path, 'ballast');
  return {
    path,
    fill() {
      mkdirSync(ballast, { recursive: true });
      for (let blockBytes = 65_536; blockBytes >= 1; blockBytes = Math.floor(blockBytes / 4))
        fillWith(ballast, blockBytes);
    },
    makeRoom: () => rmSync(ballast, { recursive: true }),
    makeReadOnly: () => command(`mount -o remount,ro ${folder}`),
  };
}

function fillWith(folder: string, blockBytes: number): void {
  for (;;) {
    try {
      writeFileSync(join(folder, `${readdirSync(folder).length}`), Buffer.alloc(blockBytes));
    } catch {
      return;
    }
  }
}
