import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { NbdClientError } from '../client/errors.js';
import type { AppendFile } from '../qcow2/append-file.js';
import type { PlacedClusters } from '../qcow2/clusters.js';
import {
  type CopyAnswer,
  type CopyFailure,
  type CopyOrder,
  type CopySource,
  type CopyThreadData,
  END,
} from './copy-orders.js';

/** More threads gain nothing, because the file takes one writer at a time. */
const MAX_THREADS = 4;

/** How many threads to copy with on this machine. */
export function copyThreadCount(): number {
  return Math.min(availableParallelism(), MAX_THREADS);
}

/** An error of the NBD client in a copy thread. */
class CopyThreadError extends NbdClientError {
  override readonly name = 'CopyThreadError';
}

/** Threads that copy clusters to the end of an image, each from its own source. */
export class CopyThreads implements AsyncDisposable {
  private readonly threads: CopyThread[];
  private readonly stop = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

  constructor(sources: readonly CopySource[], target: AppendFile) {
    const shared = { targetFd: target.fd, end: target.end.memory, stop: this.stop };
    this.threads = sources.map((source) => new CopyThread({ source, ...shared }));
  }

  get count(): number {
    return this.threads.length;
  }

  /** Copies whole clusters. Unreadable ones get the position UNREAD_CLUSTER. Rejects if writing fails. */
  copy(offset: number, length: number): Promise<PlacedClusters> {
    const idlest = this.threads.reduce((best, thread) => (thread.orders < best.orders ? thread : best));
    return idlest.copy({ offset, length });
  }

  /** Makes the threads skip whatever they have not done yet. */
  skipTheRest(): void {
    Atomics.store(this.stop, 0, 1);
  }

  /** Resolves when no thread uses the files any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.skipTheRest();
    await Promise.all(this.threads.map((thread) => thread.end()));
  }
}

interface Waiting {
  readonly resolve: (placed: PlacedClusters) => void;
  readonly reject: (error: Error) => void;
}

class CopyThread {
  private readonly worker: Worker;
  private readonly waiting: Waiting[] = [];
  private readonly exited: Promise<void>;
  private failure: Error | undefined;

  constructor(workerData: CopyThreadData) {
    this.worker = new Worker(new URL('./copy-thread.js', import.meta.url), { workerData });
    this.worker.on('message', (answer: CopyAnswer) => this.settle(answer));
    this.worker.on('error', (error: Error) => this.fail(error));
    this.exited = new Promise((resolve) => {
      this.worker.on('exit', () => {
        this.fail(new Error('the copy thread has ended'));
        resolve();
      });
    });
  }

  /** Number of orders without an answer. */
  get orders(): number {
    return this.waiting.length;
  }

  copy(order: CopyOrder): Promise<PlacedClusters> {
    if (this.failure) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.worker.postMessage(order);
    });
  }

  /** Resolves when the thread has ended by itself. Terminating a thread while it starts can crash the process. */
  async end(): Promise<void> {
    this.worker.postMessage(END);
    await this.exited;
  }

  private settle(answer: CopyAnswer): void {
    const { resolve, reject } = this.waiting.shift()!;
    if (answer.failure) reject(errorFor(answer.failure));
    else resolve(answer.placed);
  }

  private fail(error: Error): void {
    this.failure = error;
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }
}

function errorFor({ isOfClient, message, hint, code, syscall }: CopyFailure): Error {
  return isOfClient ? new CopyThreadError(message, hint) : Object.assign(new Error(message), { code, syscall });
}
