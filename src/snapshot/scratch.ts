import type { Log } from '../base/log.js';
import type { BlockDevice } from '../storage/block-device.js';
import { MemoryDevice } from '../storage/memory-device.js';
import type { Posix } from '../storage/posix-calls.js';

export interface ScratchOptions {
  readonly posix: Posix | undefined;
  readonly log: Log;
}

/** A sparse file without a name in `folder`. */
export async function openScratch(_folder: string, sizeBytes: number, _options: ScratchOptions): Promise<BlockDevice> {
  return new MemoryDevice(sizeBytes);
}
