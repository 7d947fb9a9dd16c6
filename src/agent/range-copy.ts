import { MIB } from '../base/units.js';
import type { PlacedClusters } from '../qcow2/clusters.js';

/** Longest range to copy at once. What a range costs beside its bytes is little compared with them. */
export const MAX_RANGE_BYTES = 8 * MIB;

/** Copies ranges of a view to an image in threads. */
export interface RangeCopy extends AsyncDisposable {
  /** How many ranges to copy at a time: enough for the threads to be busy. */
  readonly maxInFlight: number;
  /** Copies whole clusters. Resolves when the file has the view's data for them. */
  copy(offset: number, length: number): Promise<PlacedClusters>;
}
