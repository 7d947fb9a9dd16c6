import { workerData } from 'node:worker_threads';
import type { PlacedClusters } from '../qcow2/clusters.js';
import { FileEnd } from '../qcow2/file-end.js';
import { ClusterCopier } from './cluster-copier.js';
import { ClusterPlacer } from './cluster-placer.js';
import { ClusterReceiver } from './cluster-receiver.js';
import type { CopyOrder, CopyThreadData } from './copy-orders.js';
import { isStopped, serveOrders } from './serve-orders.js';

const { source, targetFd, end } = workerData as CopyThreadData;
const placer = new ClusterPlacer(targetFd, FileEnd.shared(end));
const copier =
  'fd' in source ? new ClusterCopier(source.fd, placer, isStopped) : new ClusterReceiver(source, placer, isStopped);

serveOrders<CopyOrder, PlacedClusters>(({ offset, length }) => copier.copy(offset, length));
