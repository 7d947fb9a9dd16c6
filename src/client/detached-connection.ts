import { closeSync, writeSync } from 'node:fs';
import { encodeRequest } from '../protocol/client-codec.js';
import { Command } from '../protocol/constants.js';
import type { ReplyForm } from '../protocol/reply-form.js';

/** What a thread has to know to use a connection. Its calls wait for short times: see `duplicateWaitingNow`. */
export interface ConnectionFacts {
  readonly fd: number;
  readonly replies: ReplyForm;
  /** The address of the server, for people. */
  readonly place: string;
  /** How long the server may be silent while an answer is due. */
  readonly timeoutSeconds: number;
}

/** A connection in the transmission phase that no event loop watches, and that one thread may use. */
export class DetachedConnection implements Disposable {
  constructor(readonly facts: ConnectionFacts) {}

  /** Tells the server that the client disconnects, and closes the connection. No thread may use it any more. */
  [Symbol.dispose](): void {
    const { fd, replies } = this.facts;
    try {
      writeSync(fd, encodeRequest({ command: Command.DISC, flags: 0, cookie: 0, offset: 0, length: 0 }, replies));
    } catch {
      // The connection is lost, or the server reads nothing.
    }
    closeSync(fd);
  }
}
