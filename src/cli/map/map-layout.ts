import { KIB } from '../../base/units.js';

/** How a disk is divided into slices, one per character, and the slices into rows. */
export interface MapLayout {
  readonly sizeBytes: number;
  /** A power of two; the last slice may be shorter. */
  readonly sliceBytes: number;
  readonly sliceCount: number;
  readonly columns: number;
}

/** Width of a row's offset and the gap after it. */
export const LABEL_COLUMNS = 12;

const MAX_ROWS = 8;
const MIN_SLICE_BYTES = 4 * KIB;
/** With a multiple of this many slices in a row, rows begin at round offsets. */
const COLUMN_STEP = 8;

/** Fits a disk into at most eight rows that are as wide as the terminal. */
export function layoutMap(sizeBytes: number, terminalColumns: number): MapLayout {
  const room = Math.floor((terminalColumns - LABEL_COLUMNS) / COLUMN_STEP) * COLUMN_STEP;
  const columns = Math.max(COLUMN_STEP, room);
  let sliceBytes = MIN_SLICE_BYTES;
  while (sizeBytes / sliceBytes > columns * MAX_ROWS) sliceBytes *= 2;
  return { sizeBytes, sliceBytes, sliceCount: Math.ceil(sizeBytes / sliceBytes), columns };
}
