import { randomFillSync } from 'node:crypto';
import { open } from 'node:fs/promises';
import { MIB } from '../src/base/units.js';
import { Program } from './program.js';

/** Makes a file without holes. */
export async function makeImage(path: string, sizeBytes: number): Promise<void> {
  const piece = randomFillSync(Buffer.allocUnsafe(4 * MIB));
  const file = await open(path, 'wx');
  try {
    for (let offset = 0; offset < sizeBytes; offset += piece.length) {
      await file.write(piece, 0, Math.min(piece.length, sizeBytes - offset), offset);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Drops the file from the page cache. No process may have it mapped. */
export async function makeCold(path: string, signal: AbortSignal): Promise<void> {
  const nothing = ['if=/dev/null', `of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0'];
  await using dd = new Program(['dd', ...nothing], signal);
  await dd.finished();
}

/** Brings the file into the page cache. */
export async function makeCached(path: string, signal: AbortSignal): Promise<void> {
  await using dd = new Program(['dd', `if=${path}`, 'of=/dev/null', 'bs=1M'], signal);
  await dd.finished();
}
