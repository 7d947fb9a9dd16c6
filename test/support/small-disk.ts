import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mountedDisk } from './mounted-disk.js';

/** A small file system that can be filled up and made read-only. */
export interface SmallDisk {
  readonly path: string;
  /** Leaves no space for another block. */
  fill(): void;
  makeRoom(): void;
  /** Fails while a file on it is open for writing. */
  makeReadOnly(): Promise<void>;
}

export async function smallDisk(sizeBytes: number): Promise<SmallDisk> {
  const { path, folder, command } = await mountedDisk(`-t tmpfs -o size=${sizeBytes} tmpfs`);
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
