import { parentPort, workerData } from 'node:worker_threads';
import { loadHash } from '../qcow2/cluster-hash.js';
import { FileEnd } from '../qcow2/file-end.js';
import { ClusterCopier } from './cluster-copier.js';
import { type CopyAnswer, type CopyThreadData, END, type ThreadMessage } from './copy-orders.js';

const { sourceFd, targetFd, end, stop } = workerData as CopyThreadData;
const isStopped = () => Atomics.load(stop, 0) !== 0;
const copier = new ClusterCopier(sourceFd, targetFd, FileEnd.shared(end), isStopped);
const port = parentPort!;

// Not awaited here: see `loadHash`. Messages wait in the port until then.
void loadHash().then(() => port.on('message', take));

function take(message: ThreadMessage): void {
  // The thread ends when its port is closed, because nothing else keeps it running.
  if (message === END) port.close();
  else port.postMessage(answer(message.offset, message.length));
}

function answer(offset: number, length: number): CopyAnswer {
  try {
    return { placed: copier.copy(offset, length) };
  } catch (error) {
    const { message, code, syscall } = error as NodeJS.ErrnoException;
    return { failure: { message, code, syscall } };
  }
}
