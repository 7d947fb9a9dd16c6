import type { Errno } from '../base/errno.js';
import type { Log } from '../base/log.js';
import type { Posix } from '../posix/posix-calls.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { openUnnamedFile, unnamedDevice } from '../storage/image/unnamed-file.js';

export interface ScratchOptions {
  /** From `loadPosix`. Undefined: scratch frees nothing before it is closed. */
  readonly posix: Posix | undefined;
  readonly log: Log;
}

/** A device for old data. */
export interface Scratch extends BlockDevice {
  /** As that of a file device. */
  lostWrites?(): Promise<Errno>;
}

/**
 * Makes a sparse file without a name in `folder`, for a snapshot's old data. Its space is given back when it is closed,
 * and by the kernel when the process ends. @throws the error of the file system
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
