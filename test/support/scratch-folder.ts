import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Where images lie in tests: in memory (tmpfs), and on a disk's file system. */
export const places = { tmpfs: '/dev/shm', disk: tmpdir() } as const;

/** A new empty folder, gone when the test is over. */
export function scratchFolder(place: keyof typeof places = 'disk'): string {
  const folder = mkdtempSync(join(places[place], 'tidemark-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}
