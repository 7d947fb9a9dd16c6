import { encodeOption } from '../protocol/client-codec.js';
import { Option } from '../protocol/constants.js';
import { loadClientTls } from '../tls/tls-settings.js';
import type { Dialogue } from './dialogue.js';
import { NbdTlsError } from './errors.js';
import { findTlsFiles, type TlsDefaults } from './find-tls-files.js';
import { NbdStream } from './nbd-stream.js';
import type { NbdTarget } from './nbd-uri.js';
import { askOption, type Greeting, greet, type Send } from './option-exchange.js';

/** Long enough for a disk to spin up. */
const DEFAULT_TIMEOUT_SECONDS = 60;

export interface NbdWaitOptions {
  /** How long the server may be silent while an answer is due. */
  readonly timeoutSeconds?: number;
  /** Closes the connection at once, whatever it waits for, at any time until it is closed. */
  readonly signal?: AbortSignal | undefined;
  /** Certificates and keys for URIs that ask for TLS and name none. */
  readonly tls?: TlsDefaults | undefined;
}

export interface Negotiated<Result> {
  readonly stream: NbdStream;
  readonly outcome: Result;
}

/**
 * Connects, makes TLS if the target asks for it, and runs a dialogue of the handshake phase, which begins after the
 * greeting. Ends the handshake properly when the server refuses. @throws NbdClientError, CodedError TLS_UNUSABLE
 */
export async function negotiate<Result>(
  { address, tls: wish }: NbdTarget,
  { timeoutSeconds = DEFAULT_TIMEOUT_SECONDS, signal, tls: defaults = {} }: NbdWaitOptions,
  dialogue: (send: Send, greeting: Greeting) => Dialogue<Result>,
): Promise<Negotiated<Result>> {
  const settings = wish && (await loadClientTls({ ...(await findTlsFiles(wish, defaults)), username: wish.username }));
  const stream = await NbdStream.open(address, { timeoutSeconds, signal }, wish !== undefined);
  const send: Send = (...parts) => stream.send(...parts);
  try {
    const greeting = await stream.converse(greet(send));
    if (settings) {
      await stream.converse(startTls(send, greeting));
      await stream.secure(settings, wish!);
    }
    const outcome = await stream.converse(dialogue(send, greeting));
    return { stream, outcome };
  } catch (error) {
    await leaveHandshake(stream);
    throw error;
  }
}

/** The first option of all, so that nobody in between learns or changes what is agreed on. */
function* startTls(send: Send, { fixedNewstyle }: Greeting): Dialogue<void> {
  const answer = fixedNewstyle ? yield* askOption(send, Option.STARTTLS, 'TLS') : undefined;
  if (answer && !answer.refusal) return;
  const why = answer?.refusal ? `: ${answer.refusal.message}` : '';
  throw new NbdTlsError(`the server does not offer TLS${why}`, 'set TLS up on the server; nbd: is in the clear');
}

/** Closes a connection that is still in the handshake. */
export async function leaveHandshake(stream: NbdStream): Promise<void> {
  if (!stream.failure) stream.send(encodeOption(Option.ABORT));
  await stream.end();
}
