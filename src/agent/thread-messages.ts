/** Messages between a thread and its owner. */

/** What every thread gets at its start, beside its own data. */
export interface ThreadData {
  /** Anything but 0 tells the thread to skip what it has not done yet. */
  readonly stop: Int32Array;
}

/** The last message to a thread. The thread ends when it reaches this message, so never before it has started. */
export const END = 'end';

/** A thread answers its orders in sequence. */
export type ThreadAnswer<Result> =
  | { readonly result: Result; readonly failure?: undefined }
  | { readonly failure: ThreadFailure };

/** What is left of an error when it is sent between threads: the fields of a system error, or those of an NBD client. */
export interface ThreadFailure extends Pick<NodeJS.ErrnoException, 'message' | 'code' | 'syscall'> {
  /** Whether it is an NbdClientError. */
  readonly isOfClient: boolean;
  readonly hint?: string | undefined;
}
