import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { loadPosix } from '../../src/posix/posix.js';
import type { Posix } from '../../src/posix/posix-calls.js';
import type { FileDevice } from '../../src/storage/file/file-device.js';
import { openDisk } from '../../src/storage/image/open-disk.js';
import { keepLog, type LoggedLine } from './log-lines.js';
import { type places, scratchFolder } from './scratch-folder.js';

/** The system calls that the server uses. */
export const native: Posix = loadPosix()!;

export interface ScratchImage {
  readonly place?: keyof typeof places;
  /** The content of the image, or the size of a hole. */
  readonly content: Buffer | number;
  readonly readOnly?: boolean;
  readonly posix?: Posix | undefined;
}

export interface ScratchDevice {
  readonly device: FileDevice;
  readonly path: string;
  readonly lines: LoggedLine[];
}

export function writeImage({ place, content }: Pick<ScratchImage, 'place' | 'content'>): string {
  const path = join(scratchFolder(place), 'image');
  writeFileSync(path, typeof content === 'number' ? '' : content);
  if (typeof content === 'number') truncateSync(path, content);
  return path;
}

/**
 * A device over a new image, until the end of the test. Its clock stands still, because on a busy machine calls would
 * look slow, and the device would move them to the thread pool.
 */
export async function openScratch(image: ScratchImage): Promise<ScratchDevice> {
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => void vi.useRealTimers());
  const path = writeImage(image);
  const { log, lines } = keepLog();
  const posix = 'posix' in image ? image.posix : native;
  const device = await openDisk({ path, readOnly: image.readOnly ?? false, posix, log });
  onTestFinished(() => device.close());
  return { device, path, lines };
}
