import { randomFillSync } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { scratchFolder } from './scratch-folder.js';

export interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Makes a sparse image with random bytes in `data`, in a new folder unless one is given. Returns its path. */
export function makeImage(sizeBytes: number, data: readonly Range[] = [], folder = scratchFolder()): string {
  const path = join(folder, 'disk.img');
  const fd = openSync(path, 'wx');
  ftruncateSync(fd, sizeBytes);
  for (const { offset, length } of data) writeSync(fd, randomFillSync(Buffer.alloc(length)), 0, length, offset);
  closeSync(fd);
  return path;
}

/** Compares two files byte by byte without printing them. */
export function expectSameContent(actualPath: string, expectedPath: string): void {
  const [actual, expected] = [readFileSync(actualPath), readFileSync(expectedPath)];
  expect(actual.length).toBe(expected.length);
  expect(actual.equals(expected), `${actualPath} has the content of ${expectedPath}`).toBe(true);
}
