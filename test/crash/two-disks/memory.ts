import type { BitArray } from '../../../src/base/bit-array.js';
import type { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import type { DirtyBitmap } from '../../../src/bitmap/dirty-bitmap.js';

/** A bitmap as it was at one moment. Its arrays are the live ones, because they only gain bits. */
interface Remembered {
  readonly bitmap: DirtyBitmap;
  readonly arrays: readonly BitArray[];
  readonly recording: boolean;
  readonly provisional: boolean;
}

/** The bitmaps of a disk at one moment. After a power cut they must be there, with all their bits. */
export type Memory = ReadonlyMap<string, Remembered>;

export function remember(bitmaps: BitmapSet): Memory {
  return new Map(
    bitmaps.list().map((bitmap) => {
      const { bits, successor } = bitmap.arrays;
      const { recording, provisional } = bitmap;
      return [bitmap.name, { bitmap, arrays: successor ? [bits, successor] : [bits], recording, provisional }];
    }),
  );
}

/** What is wrong with the bitmaps that were found; undefined if nothing is. */
export function missingFrom(found: BitmapSet, memory: Memory): string | undefined {
  for (const [name, remembered] of memory) {
    const wrong = wrongWith(found.find(name), remembered);
    if (wrong !== undefined) return `${name} ${wrong}`;
  }
  const more = found.list().find(({ name }) => !memory.has(name));
  return more && `${more.name} should not be there`;
}

function wrongWith(found: DirtyBitmap | undefined, { bitmap, arrays, recording, provisional }: Remembered) {
  if (!found) return provisional ? undefined : 'is missing';
  // The start may not know yet that it is inconsistent, but whoever made it so is not part of this test.
  if (bitmap.inconsistent !== undefined) return undefined;
  if (found.inconsistent !== undefined) return `is inconsistent: ${found.inconsistent}`;
  if (found.recording !== recording) return recording ? 'does not record' : 'records';
  const { bits } = found.arrays;
  for (const array of arrays) {
    for (let bit = array.nextSet(0, array.length); bit >= 0; bit = array.nextSet(bit + 1, array.length)) {
      if (bits.nextSet(bit, bit + 1) < 0) return `has lost granule ${bit}`;
    }
  }
  return undefined;
}
