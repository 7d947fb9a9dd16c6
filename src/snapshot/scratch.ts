import type { Errno } from '../base/errno.js';
import type { Log } from '../base/log.js';
import type { Posix } from '../posix/posix-calls.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { openUnnamedFile, unnamedDevice } from '../storage/image/unnamed-file.js';

export interface ScratchOptions {
  /** From `loadPosix`. If undefined, scratch frees no space before it is closed. */
  readonly posix: Posix | undefined;
  readonly log: Log;
}

/** A device for old data. */
export interface Scratch extends BlockDevice {
  /** As in `FileDevice`. */
  lostWrites?(): Promise<Errno>;
}

/**
 * Creates a sparse, unnamed file in `folder` for a snapshot's old data. Its space is freed when it is closed or the
 * process ends. @throws the error of the file system
 */
export async function openScratch(folder: string, sizeBytes: number, options: ScratchOptions): Promise<Scratch> {
  const handle = await openUnnamedFile(folder);
  try {
    await handle.truncate(sizeBytes);
    return await unnamedDevice(handle, { folder, sizeBytes, readOnly: false, ...options });
  } catch (error) {
    await handle.close();
    throw error;
  }
}
