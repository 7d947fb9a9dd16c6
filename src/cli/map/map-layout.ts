import { KIB } from '../../base/units.js';

/** How a disk is cut into slices, one a character, and those into rows. */
export interface MapLayout {
  readonly sizeBytes: number;
  /** A power of two; the last slice may be shorter. */
  readonly sliceBytes: number;
  readonly sliceCount: number;
  readonly columns: number;
}

/** Before the slices of a row: its offset, and a gap. */
export const LABEL_COLUMNS = 12;

const MAX_ROWS = 8;
const MIN_SLICE_BYTES = 4 * KIB;
/** Rows of a multiple of that many slices begin at round offsets. */
const COLUMN_STEP = 8;

/** Fits a disk into rows as wide as the terminal, and no more than eight of them. */
export function layoutMap(sizeBytes: number, terminalColumns: number): MapLayout {
  const room = Math.floor((terminalColumns - LABEL_COLUMNS) / COLUMN_STEP) * COLUMN_STEP;
  const columns = Math.max(COLUMN_STEP, room);
  let sliceBytes = MIN_SLICE_BYTES;
  while (sizeBytes / sliceBytes > columns * MAX_ROWS) sliceBytes *= 2;
  return { sizeBytes, sliceBytes, sliceCount: Math.ceil(sizeBytes / sliceBytes), columns };
}
