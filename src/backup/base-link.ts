import type { FullReason, NewBackup } from '../api/backup.js';
import type { FullReasonCode } from '../api/values.js';
import { CodedError } from '../base/coded-error.js';
import { refusalFor } from '../bitmap/bitmap-refusals.js';
import type { BitmapSet } from '../bitmap/bitmap-set.js';
import type { BitmapBase, Freeze } from '../bitmap/bitmap-state.js';
import type { DirtyBitmap } from '../bitmap/dirty-bitmap.js';
import type { Undo } from '../bitmap/undo.js';

export type ChainRequest = Pick<NewBackup, 'bitmap' | 'since' | 'full'>;

/** Why this server makes a backup full. */
type OwnReason = FullReason & { readonly code: FullReasonCode };

/** What decides whether the next backup can be incremental. */
type LinkedBitmap = Pick<DirtyBitmap, 'name' | 'recording' | 'busy' | 'inconsistent' | 'base'>;

/** How a backup of one disk follows on from the last one. */
export interface Link {
  /** Undefined: incremental. */
  readonly fullReason: OwnReason | undefined;
  readonly base: string | null;
}

const noBase: Record<Extract<BitmapBase, { none: string }>['none'], string> = {
  new: 'no backup has been committed with it yet',
  cleared: 'it was cleared since the last backup',
  merged: 'another bitmap was merged into it since the last backup',
  disabled: 'it was disabled since the last backup, so writes may be missing',
};

/** The committed backup that the bitmap counts from. */
export function baseOf(bitmap: LinkedBitmap | undefined): string | null {
  return bitmap && bitmap.inconsistent === undefined && 'backup' in bitmap.base ? bitmap.base.backup : null;
}

/**
 * Decides whether a backup can be incremental. @throws CodedError BITMAP_BUSY, BITMAP_DISABLED; BASE_MISMATCH when the
 * agent's base is not the bitmap's and no full backup was requested
 */
export function linkTo(
  exportName: string,
  bitmap: LinkedBitmap | undefined,
  { bitmap: name, since, full }: ChainRequest,
): Link {
  checkUsable(exportName, bitmap);
  const base = baseOf(bitmap);
  if (since !== undefined && since !== base) {
    const detail = `bitmap '${name}' of "${exportName}" does not count from backup ${since}: ${sayBase(bitmap, base)}`;
    if (full) return { fullReason: { code: 'base-mismatch', detail }, base: null };
    throw new CodedError('BASE_MISMATCH', detail, 'take a full backup (--full), or give the base it has');
  }
  if (full) return { fullReason: { code: 'asked-for', detail: 'a full backup was asked for' }, base: null };
  return { fullReason: base === null ? whyFull(bitmap, name) : undefined, base };
}

/**
 * Freezes the bitmap of a backup. A missing bitmap is created and an inconsistent one is replaced with an empty one.
 * Adds the undo of each step to `undos`.
 */
export function freezeBitmap(
  bitmaps: BitmapSet,
  name: string,
  persistent: boolean,
  undos: Undo[],
): { bitmap: DirtyBitmap; freeze: Freeze } {
  const found = bitmaps.find(name);
  if (!found) undos.push(bitmaps.add({ name, persistent, provisional: true }));
  else if (found.inconsistent !== undefined) {
    const { granularityBytes } = found;
    undos.push(bitmaps.remove(found));
    undos.push(bitmaps.add({ name, granularityBytes, persistent: found.persistent }));
  }
  const bitmap = bitmaps.get(name);
  const freeze = bitmap.createSuccessor();
  undos.push(freeze.undo);
  return { bitmap, freeze };
}

function checkUsable(exportName: string, bitmap: LinkedBitmap | undefined): void {
  if (bitmap?.busy) throw refusalFor(bitmap.name, 'backup', 'busy');
  if (!bitmap || bitmap.inconsistent !== undefined || bitmap.recording) return;
  throw new CodedError(
    'BITMAP_DISABLED',
    `bitmap '${bitmap.name}' of "${exportName}" is disabled: a backup could not be followed by another`,
    `tidemark bitmap enable ${exportName} ${bitmap.name}`,
  );
}

function whyFull(bitmap: LinkedBitmap | undefined, name: string): OwnReason {
  if (!bitmap) return { code: 'no-such-bitmap', detail: `there was no bitmap '${name}'; it records from now on` };
  if (bitmap.inconsistent !== undefined) {
    return { code: 'inconsistent', detail: `bitmap '${name}' is inconsistent: ${bitmap.inconsistent}` };
  }
  return { code: 'no-base', detail: `bitmap '${name}' has no base: ${sayNoBase(bitmap)}` };
}

function sayBase(bitmap: LinkedBitmap | undefined, base: string | null): string {
  if (base !== null) return `its base is ${base}`;
  if (!bitmap) return 'there is no such bitmap';
  if (bitmap.inconsistent !== undefined) return `it is inconsistent: ${bitmap.inconsistent}`;
  return `it has no base: ${sayNoBase(bitmap)}`;
}

function sayNoBase({ base }: LinkedBitmap): string {
  return 'none' in base ? noBase[base.none] : '';
}
