import { parentPort, workerData } from 'node:worker_threads';
import { NbdClientError } from '../client/errors.js';
import { loadHash } from '../qcow2/cluster-hash.js';
import { END, type ThreadAnswer, type ThreadData, type ThreadFailure } from './thread-messages.js';

/** Whether this thread should skip what it has not done yet. */
export function isStopped(): boolean {
  return Atomics.load((workerData as ThreadData).stop, 0) !== 0;
}

/** Carries out the orders of this thread's owner, one after the other, until it is told to end. */
export function serveOrders<Order, Result>(carryOut: (order: Order) => Result | Promise<Result>): void {
  const port = parentPort!;
  const take = async (message: Order | typeof END) => {
    // The thread ends when its port is closed, because nothing else keeps it running.
    if (message === END) port.close();
    else port.postMessage(await answer(() => carryOut(message)));
  };
  // Not awaited here: see `loadHash`.
  let last = loadHash();
  port.on('message', (message: Order | typeof END) => {
    last = last.then(() => take(message));
  });
}

async function answer<Result>(work: () => Result | Promise<Result>): Promise<ThreadAnswer<Result>> {
  try {
    return { result: await work() };
  } catch (error) {
    return { failure: failureOf(error as NodeJS.ErrnoException) };
  }
}

function failureOf(error: NodeJS.ErrnoException): ThreadFailure {
  const { message, code, syscall } = error;
  if (error instanceof NbdClientError) return { message, isOfClient: true, hint: error.hint };
  return { message, code, syscall, isOfClient: false };
}
