import { CodedError, type ErrorCode } from '../base/coded-error.js';

/** A bitmap state that can refuse an operation. */
export type Obstacle = 'busy' | 'inconsistent' | 'successor';

/** An operation on a bitmap that its state can refuse. */
export type BitmapOperation =
  | 'remove'
  | 'clear'
  | 'enable'
  | 'disable'
  | 'merge-into'
  | 'merge-from'
  | 'create-successor'
  | 'backup'
  | 'shrink';

/**
 * The obstacles that refuse each operation; the first match gives the error. Same as QEMU (bdrv_dirty_bitmap_check and
 * its callers), without QEMU's read-only bitmaps: tidemark has none, because its bitmaps are not stored in the image.
 */
export const refusedBy: Record<BitmapOperation, readonly Obstacle[]> = {
  remove: ['busy'],
  clear: ['busy', 'inconsistent'],
  enable: ['busy', 'inconsistent'],
  disable: ['busy', 'inconsistent'],
  'merge-into': ['busy', 'inconsistent'],
  'merge-from': ['busy', 'inconsistent'],
  'create-successor': ['successor', 'busy', 'inconsistent'],
  // A backup replaces an inconsistent bitmap with an empty one.
  backup: ['busy'],
  shrink: ['busy'],
};

interface Refusal {
  readonly code: ErrorCode;
  readonly message: (name: string, operation: BitmapOperation) => string;
  readonly hint: string;
}

const refusals: Record<Obstacle, Refusal> = {
  busy: {
    code: 'BITMAP_BUSY',
    message: (name, operation) =>
      operation === 'create-successor'
        ? 'Cannot create a successor for a bitmap that is in-use by an operation'
        : `Bitmap '${name}' is currently in use by another operation and cannot be used`,
    hint: 'wait until that operation has ended; tidemark backup list shows backups under way',
  },
  inconsistent: {
    code: 'BITMAP_INCONSISTENT',
    message: (name) => `Bitmap '${name}' is inconsistent and cannot be used`,
    hint: 'remove it and add it again; the next backup will be a full one',
  },
  successor: {
    code: 'BITMAP_HAS_SUCCESSOR',
    message: () => 'Cannot create a successor for a bitmap that already has one',
    hint: 'wait until the operation that froze it has ended',
  },
};

/** The error for a refused operation, in QEMU's words and with a stable code. */
export function refusalFor(name: string, operation: BitmapOperation, obstacle: Obstacle): CodedError {
  const { code, message, hint } = refusals[obstacle];
  return new CodedError(code, message(name, operation), hint);
}

const noSuccessor = {
  abdicate: "Cannot relinquish control if there's no successor present",
  reclaim: 'Cannot reclaim a successor when none is present',
};

/** The error for a freeze that cannot be ended, because it has ended already. */
export function noSuccessorFor(operation: 'abdicate' | 'reclaim'): CodedError {
  return new CodedError('BITMAP_NO_SUCCESSOR', noSuccessor[operation], 'the bitmap is not frozen');
}
