import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Where tests keep images: in memory (tmpfs) or on the file system of a disk. */
export const places = { tmpfs: '/dev/shm', disk: tmpdir() } as const;

/** A new empty folder that is removed after the test. */
export function scratchFolder(place: keyof typeof places = 'disk'): string {
  const folder = mkdtempSync(join(places[place], 'tidemark-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}
