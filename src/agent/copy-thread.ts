import { parentPort, workerData } from 'node:worker_threads';
import { NbdClientError } from '../client/errors.js';
import { loadHash } from '../qcow2/cluster-hash.js';
import type { PlacedClusters } from '../qcow2/clusters.js';
import { FileEnd } from '../qcow2/file-end.js';
import { ClusterCopier } from './cluster-copier.js';
import { ClusterPlacer } from './cluster-placer.js';
import { ClusterReceiver } from './cluster-receiver.js';
import { type CopyAnswer, type CopyFailure, type CopyThreadData, END, type ThreadMessage } from './copy-orders.js';

const { source, targetFd, end, stop } = workerData as CopyThreadData;
const isStopped = () => Atomics.load(stop, 0) !== 0;
const placer = new ClusterPlacer(targetFd, FileEnd.shared(end));
const copier = copierOf();
const port = parentPort!;

// Not awaited here: see `loadHash`.
let last = loadHash();
port.on('message', (message: ThreadMessage) => {
  last = last.then(() => take(message));
});

function copierOf(): { copy(offset: number, length: number): PlacedClusters | Promise<PlacedClusters> } {
  if ('fd' in source) return new ClusterCopier(source.fd, placer, isStopped);
  return new ClusterReceiver(source.connection, source.pieceBytes, placer, isStopped);
}

async function take(message: ThreadMessage): Promise<void> {
  // The thread ends when its port is closed, because nothing else keeps it running.
  if (message === END) port.close();
  else port.postMessage(await answer(message.offset, message.length));
}

async function answer(offset: number, length: number): Promise<CopyAnswer> {
  try {
    return { placed: await copier.copy(offset, length) };
  } catch (error) {
    return { failure: failureOf(error as NodeJS.ErrnoException) };
  }
}

function failureOf(error: NodeJS.ErrnoException): CopyFailure {
  const { message, code, syscall } = error;
  if (error instanceof NbdClientError) return { message, isOfClient: true, hint: error.hint };
  return { message, code, syscall, isOfClient: false };
}
