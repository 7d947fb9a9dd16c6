import { parentPort, workerData } from 'node:worker_threads';
import { FileEnd } from '../qcow2/file-end.js';
import { ClusterCopier } from './cluster-copier.js';
import type { CopyAnswer, CopyOrder, CopyThreadData } from './copy-threads.js';

const { sourceFd, targetFd, end } = workerData as CopyThreadData;
const copier = new ClusterCopier(sourceFd, targetFd, FileEnd.shared(end));

parentPort!.on('message', ({ offset, length }: CopyOrder) => parentPort!.postMessage(answer(offset, length)));

function answer(offset: number, length: number): CopyAnswer {
  try {
    return { placed: copier.copy(offset, length) };
  } catch (error) {
    const { message, code, syscall } = error as NodeJS.ErrnoException;
    return { failure: { message, code, syscall } };
  }
}
