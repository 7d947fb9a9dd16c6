import { Socket } from 'node:net';
import { KIB } from '../../base/units.js';
import type { TlsDoor } from '../../tls/door.js';
import type { TlsRefusal } from '../../tls/refusals.js';
import { Link, type LinkHost, type Phase } from '../link.js';
import type { ReceiveBuffer } from '../receive-buffer.js';
import type { FromThread, Haggled } from './thread-messages.js';

/** What the owner gets at a time of what a client says in its handshake. */
const CHUNK_BYTES = 64 * KIB;

export interface ClosedClient {
  readonly reason: string | undefined;
  /** It did not get through the TLS handshake. */
  readonly refused?: TlsRefusal;
}

/**
 * A client that has just asked for TLS, in the thread that will serve it. The TLS handshake is made here. Then the owner
 * answers the options: it gets what the client says, a chunk at a time, and gets no more before it has answered every
 * whole option in it. So the option that ends the handshake ends within the last chunk.
 */
export class SecuredClient implements Phase {
  readonly closed: Promise<ClosedClient>;
  readonly idle = true;
  readonly lacksMemory = false;
  readonly closeReason = undefined;
  private link: Link | undefined;
  private input: ReceiveBuffer | undefined;
  /** How many bytes the owner has been given and has not answered yet; undefined: it waits for some. */
  private askedBytes: number | undefined;
  /** The owner has more answers to them. */
  private hasMore = false;
  private cutReason: string | undefined;

  constructor(
    private readonly id: number,
    private readonly raw: Socket,
    private readonly host: LinkHost & { readonly door: TlsDoor },
    private readonly tell: (message: FromThread, owned?: ArrayBuffer) => void,
  ) {
    this.closed = this.serve();
  }

  /** A client on this descriptor, which belongs to it from now on. */
  static over(
    { id, fd }: { readonly id: number; readonly fd: number },
    host: LinkHost & { readonly door: TlsDoor },
    tell: (message: FromThread, owned?: ArrayBuffer) => void,
  ): SecuredClient {
    const raw = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true, manualStart: true } as object);
    return new SecuredClient(id, raw, host, tell);
  }

  consume(input: ReceiveBuffer): void {
    this.input = input;
    if (this.askedBytes === undefined) this.forward(input);
    else if (this.hasMore && this.link!.output.hasRoom) {
      this.hasMore = false;
      this.tell({ kind: 'haggle', client: this.id, bytes: new Uint8Array(0) });
    }
  }

  get canBegin(): boolean {
    return this.askedBytes === undefined;
  }

  /** What the owner answers. */
  answer({ say, more }: Haggled): void {
    this.send(say);
    if (more) this.hasMore = true;
    else this.takeAnswered(0);
    this.link!.advance();
  }

  /** The handshake is over: what is behind its last option belongs to the next phase. Returns the link for that. */
  finish({ say, leftoverBytes }: { readonly say: Haggled['say']; readonly leftoverBytes: number }): Link {
    this.send(say);
    this.takeAnswered(leftoverBytes);
    return this.link!;
  }

  stop(reason: string): void {
    if (this.link) this.link.stop(reason);
    else this.cut(reason);
  }

  /** Closes the connection at once. */
  cut(reason: string): void {
    this.cutReason ??= reason;
    this.link?.cut(reason);
    this.raw.destroy();
  }

  private async serve(): Promise<ClosedClient> {
    const outcome = await this.host.door.admit(this.raw);
    if ('refused' in outcome) return { reason: this.cutReason ?? outcome.refused, refused: outcome };
    const { socket: secured, proof } = outcome;
    this.tell({ kind: 'secured', client: this.id, proof });
    this.link = new Link({ secured }, this.host, this.id);
    this.link.enter(this);
    this.link.advance();
    return { reason: await this.link.closed };
  }

  private forward(input: ReceiveBuffer): void {
    if (input.length === 0) return;
    const { buffer, start, end } = input;
    const bytes = Uint8Array.from(buffer.subarray(start, Math.min(end, start + CHUNK_BYTES)));
    this.askedBytes = bytes.length;
    this.tell({ kind: 'haggle', client: this.id, bytes }, bytes.buffer);
  }

  private takeAnswered(leftoverBytes: number): void {
    const { input, askedBytes = 0 } = this;
    // A link that is ending has dropped its input.
    input?.consume(Math.min(askedBytes - leftoverBytes, input.length));
    this.askedBytes = undefined;
  }

  private send({ buffer, byteLength }: Haggled['say']): void {
    if (byteLength > 0) this.link!.output.send(Buffer.from(buffer));
  }
}
