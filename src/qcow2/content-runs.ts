import { CLUSTER_BYTES } from './clusters.js';

const zeroCluster = Buffer.alloc(CLUSTER_BYTES);

/** Consecutive clusters of a buffer that are all zero, or all not zero. `start` and `end` are in bytes. */
export interface ContentRun {
  readonly start: number;
  readonly end: number;
  readonly isZero: boolean;
}

/** Divides whole clusters into runs. */
export function* contentRuns(data: Buffer): Generator<ContentRun> {
  for (let start = 0; start < data.length; ) {
    const isZero = isZeroAt(data, start);
    let end = start + CLUSTER_BYTES;
    while (end < data.length && isZeroAt(data, end) === isZero) end += CLUSTER_BYTES;
    yield { start, end, isZero };
    start = end;
  }
}

/** The comparison is fast for data, because it stops at the first byte that is not zero. */
function isZeroAt(data: Buffer, start: number): boolean {
  return data.compare(zeroCluster, 0, CLUSTER_BYTES, start, start + CLUSTER_BYTES) === 0;
}

/** Appends zeroes up to a whole cluster. */
export function padToCluster(data: Buffer): Buffer {
  const over = data.length % CLUSTER_BYTES;
  return over === 0 ? data : Buffer.concat([data, zeroCluster.subarray(over)]);
}
