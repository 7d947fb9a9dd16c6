import type { AppendFile } from '../qcow2/append-file.js';
import type { PlacedClusters } from '../qcow2/clusters.js';
import type { CopyOrder, CopySource, CopyThreadData } from './copy-orders.js';
import { OrderThreads } from './order-threads.js';

/**
 * Threads that copy clusters to the end of an image, each from its own source. Clusters that cannot be read from a disk
 * or over a connection that may be lost get the position UNREAD_CLUSTER. An order fails if writing fails, or another
 * connection.
 */
export type CopyThreads = OrderThreads<CopyOrder, PlacedClusters>;

export function startCopyThreads(sources: readonly CopySource[], target: AppendFile): CopyThreads {
  const data = sources.map((source): CopyThreadData => ({ source, targetFd: target.fd, end: target.end.memory }));
  return new OrderThreads(new URL('./copy-thread.js', import.meta.url), data);
}
