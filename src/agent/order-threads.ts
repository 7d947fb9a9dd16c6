import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { NbdClientError } from '../client/errors.js';
import { END, type ThreadAnswer, type ThreadData, type ThreadFailure } from './thread-messages.js';

/** More threads gain nothing, because a file takes one writer at a time. */
const MAX_THREADS = 4;

/** How many threads to work with on this machine. */
export function usefulThreads(): number {
  return Math.min(availableParallelism(), MAX_THREADS);
}

/** An error of the NBD client in a thread. */
class ClientThreadError extends NbdClientError {
  override readonly name = 'ClientThreadError';
}

/** Threads of one kind. An order goes to the one that has the fewest. */
export class OrderThreads<Order, Result> implements AsyncDisposable {
  private readonly threads: OrderThread<Order, Result>[];
  private readonly stop = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

  /** Starts one thread for each item of `data`. */
  constructor(script: URL, data: readonly object[]) {
    this.threads = data.map((item) => new OrderThread(script, { ...item, stop: this.stop }));
  }

  get count(): number {
    return this.threads.length;
  }

  run(order: Order): Promise<Result> {
    return this.threads.reduce((best, thread) => (thread.orders < best.orders ? thread : best)).run(order);
  }

  /** Makes the threads skip whatever they have not done yet. */
  skipTheRest(): void {
    Atomics.store(this.stop, 0, 1);
  }

  /** Resolves when no thread uses any file any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.skipTheRest();
    await Promise.all(this.threads.map((thread) => thread.end()));
  }
}

interface Waiting<Result> {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

class OrderThread<Order, Result> {
  private readonly worker: Worker;
  private readonly waiting: Waiting<Result>[] = [];
  private readonly exited: Promise<void>;
  private failure: Error | undefined;

  constructor(script: URL, workerData: ThreadData) {
    this.worker = new Worker(script, { workerData });
    this.worker.on('message', (answer: ThreadAnswer<Result>) => this.settle(answer));
    this.worker.on('error', (error: Error) => this.fail(error));
    this.exited = new Promise((resolve) => {
      this.worker.on('exit', () => {
        this.fail(new Error('the thread has ended'));
        resolve();
      });
    });
  }

  /** Number of orders without an answer. */
  get orders(): number {
    return this.waiting.length;
  }

  run(order: Order): Promise<Result> {
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

  private settle(answer: ThreadAnswer<Result>): void {
    const { resolve, reject } = this.waiting.shift()!;
    if (answer.failure) reject(errorFor(answer.failure));
    else resolve(answer.result);
  }

  private fail(error: Error): void {
    this.failure = error;
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }
}

function errorFor({ isOfClient, message, hint, code, syscall }: ThreadFailure): Error {
  return isOfClient ? new ClientThreadError(message, hint) : Object.assign(new Error(message), { code, syscall });
}
