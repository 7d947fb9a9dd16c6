import type { TlsDoor, TlsProof } from '../tls/door.js';
import type { TlsRefusal } from '../tls/refusals.js';
import { type Carrier, Link, type LinkHost } from './link.js';

/** A client whose TLS handshake is complete. */
export interface Secured {
  readonly carrier: Carrier;
  readonly proof: TlsProof;
}

/** A client between the answer to STARTTLS and the end of the TLS handshake. */
export interface Securing {
  /** Never rejects. */
  readonly outcome: Promise<Secured | TlsRefusal>;
  /** Closes the connection at once. */
  cut(reason: string): void;
}

/** Begins TLS in this thread. Undefined if the link cannot give its socket away, because the client reads nothing. */
export function secureHere(link: Link, door: TlsDoor, host: LinkHost, id: number): Securing | undefined {
  const raw = link.surrender();
  if (!raw) return undefined;
  let cutReason: string | undefined;
  const enter = async (): Promise<Secured | TlsRefusal> => {
    // The caller is in the middle of reading from this connection.
    await new Promise((resolve) => setImmediate(resolve));
    const outcome = await door.admit(raw);
    if (cutReason !== undefined) return { refused: cutReason, code: 'CUT' };
    if ('refused' in outcome) return outcome;
    const { socket: secured, proof } = outcome;
    return { carrier: new Link({ secured }, host, id), proof };
  };
  const cut = (reason: string) => {
    cutReason ??= reason;
    raw.destroy();
  };
  return { outcome: enter(), cut };
}
