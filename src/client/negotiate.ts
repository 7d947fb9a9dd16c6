import { encodeOption } from '../protocol/client-codec.js';
import { Option } from '../protocol/constants.js';
import type { Dialogue } from './dialogue.js';
import { NbdStream } from './nbd-stream.js';
import type { NbdAddress } from './nbd-uri.js';
import type { Send } from './option-exchange.js';

/** Long enough for a disk to spin up. */
const DEFAULT_TIMEOUT_SECONDS = 60;

export interface NbdWaitOptions {
  /** How long the server may be silent while an answer is due. */
  readonly timeoutSeconds?: number;
  /** Closes the connection at once, whatever it waits for, at any time until it is closed. */
  readonly signal?: AbortSignal | undefined;
}

export interface Negotiated<Result> {
  readonly stream: NbdStream;
  readonly outcome: Result;
}

/** Connects and runs a dialogue of the handshake phase. Ends the handshake properly when the server refuses. */
export async function negotiate<Result>(
  address: NbdAddress,
  { timeoutSeconds = DEFAULT_TIMEOUT_SECONDS, signal }: NbdWaitOptions,
  dialogue: (send: Send) => Dialogue<Result>,
): Promise<Negotiated<Result>> {
  const stream = await NbdStream.open(address, { timeoutSeconds, signal });
  try {
    const outcome = await stream.converse(dialogue((...parts) => stream.send(...parts)));
    return { stream, outcome };
  } catch (error) {
    await leaveHandshake(stream);
    throw error;
  }
}

/** Closes a connection that is still in the handshake. */
export async function leaveHandshake(stream: NbdStream): Promise<void> {
  if (!stream.failure) stream.send(encodeOption(Option.ABORT));
  await stream.end();
}
