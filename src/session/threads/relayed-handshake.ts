import type { ServedDisk } from '../../export/served-disk.js';
import type { TlsProof } from '../../tls/door.js';
import type { TlsRefusal } from '../../tls/refusals.js';
import type { Agreement } from '../agreement.js';
import { CLIENT_CLOSED } from '../close-reason.js';
import type { Carrier, LinkHost, Phase } from '../link.js';
import type { MemoryAccount } from '../memory-budget.js';
import { ReceiveBuffer } from '../receive-buffer.js';
import type { Secured, Securing } from '../securing.js';
import type { MovedClient } from './moved-client.js';
import type { ToThread } from './thread-messages.js';

/** The thread that serves the client. */
export interface RelayThread {
  send(message: ToThread): void;
  /** Serves the client from now on, after it has sent what has been answered. */
  begin(agreement: Agreement<ServedDisk>): MovedClient;
}

/**
 * The handshake of a client that another thread serves with TLS: that thread passes on what the client says, one chunk
 * at a time, and sends what is answered. See `SecuredClient`.
 */
export class RelayedHandshake implements Securing, Carrier {
  readonly outcome: Promise<Secured | TlsRefusal>;
  readonly closed: Promise<string | undefined>;
  /** The thread asks for more when the client has read what it was sent. */
  readonly output = { hasRoom: true, send: (message: Buffer) => void this.say.push(message) };
  private resolveOutcome!: (outcome: Secured | TlsRefusal) => void;
  private resolveClosed!: (reason: string | undefined) => void;
  private readonly memory: MemoryAccount;
  private readonly input: ReceiveBuffer;
  private readonly say: Uint8Array[] = [];
  private phase: Phase | undefined;
  private unanswered = false;
  private ended = false;

  constructor(
    readonly id: number,
    private readonly host: LinkHost,
    private readonly thread: RelayThread,
  ) {
    this.outcome = new Promise((resolve) => {
      this.resolveOutcome = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    this.memory = host.memory.open(() => {});
    this.input = new ReceiveBuffer(this.memory);
  }

  /** The thread has made the TLS handshake. */
  secured(proof: TlsProof): void {
    this.resolveOutcome({ carrier: this, proof });
  }

  /** The client has said more, or has read enough of a long answer for more of it. */
  heard(bytes: Uint8Array): void {
    if (this.ended) return;
    this.append(bytes);
    this.unanswered = true;
    this.advance();
  }

  enter(phase: Phase): void {
    this.phase = phase;
  }

  advance(): void {
    if (!this.unanswered || !this.phase || this.ended) return;
    this.unanswered = false;
    const { phase, id, thread } = this;
    try {
      phase.consume(this.input);
    } catch (bug) {
      this.host.log.error({ err: bug, connection: id }, 'a bug ended a connection');
      this.stop('a bug in the server');
      return;
    }
    if (this.ended) return;
    if (this.input.claimRoom()) this.memory.waive();
    thread.send({ kind: 'haggled', client: id, say: this.takeSay(), more: !phase.canBegin });
    if (phase.closeReason !== undefined) this.stop(phase.closeReason);
  }

  /** The client has chosen its export, which it uses from the other thread. */
  begin(agreement: Agreement<ServedDisk>): MovedClient {
    const moved = this.thread.begin(agreement);
    this.end(undefined);
    return moved;
  }

  /** What has been answered and not been sent yet. */
  takeSay(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(Buffer.concat(this.say.splice(0)));
  }

  /** How much has been heard and not been consumed. */
  get leftoverBytes(): number {
    return this.input.length;
  }

  stop(reason: string): void {
    this.thread.send({ kind: 'stop', client: this.id, reason });
  }

  cut(reason: string): void {
    this.thread.send({ kind: 'cut', client: this.id, reason });
  }

  /** The connection is closed, or belongs to the next phase. */
  end(reason: string | undefined, refused?: TlsRefusal): void {
    if (this.ended) return;
    this.ended = true;
    this.resolveOutcome(refused ?? { refused: reason ?? CLIENT_CLOSED, code: 'CLOSED' });
    this.input.close();
    this.memory.close();
    this.resolveClosed(reason);
  }

  private append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const room = this.input.room();
      const count = Math.min(room.length, bytes.length - at);
      room.set(bytes.subarray(at, at + count));
      at += count;
      this.input.appended(count);
    }
  }
}
