import type { ServerEvent } from '../happening.js';

/** Hands an event to whoever a hook is for. Gives up when the signal is aborted. */
export type Deliver = (event: ServerEvent, signal: AbortSignal) => Promise<void>;

/** Why an event could not be delivered. */
export class DeliveryError extends Error {
  constructor(
    message: string,
    /** Trying again is of no use. */
    readonly isFinal = false,
  ) {
    super(message);
  }
}
