import type { BlockDevice } from '../storage/block-device.js';
import type { ScratchOptions } from './scratch.js';

/** A clone of the image as it is now, read-only; undefined where the file system cannot clone. */
export async function cloneImage(
  _imagePath: string,
  _sizeBytes: number,
  _options: ScratchOptions,
): Promise<BlockDevice | undefined> {
  return undefined;
}
