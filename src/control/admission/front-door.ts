import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { normalAddress } from '../../access/identity.js';
import { type Attempt, apiApplicant, type Refusals } from '../../access/refusals.js';
import { isLoopback } from '../../base/host-port.js';
import type { TlsDoor, TlsProof } from '../../tls/door.js';

/** The first byte of a TLS connection: a handshake record. No method of HTTP begins with it. */
const HANDSHAKE = 0x16;

interface FrontDoorTerms {
  readonly door: TlsDoor;
  /** Whether clients on this machine have to use TLS too. Others always have to. */
  readonly isRequired: boolean;
  /** How long a client may take to begin. */
  readonly firstByteMilliseconds: number;
  readonly refusals: Refusals;
  /** Gets what each client with TLS has proven. */
  readonly proofs: WeakMap<Socket, TlsProof>;
}

/**
 * Makes an HTTP server speak HTTPS too, at the same address: the first byte of a connection says which. It stands before
 * the server's own listener for connections, so that the limits and the end of the server hold for both.
 */
export class FrontDoor {
  /** Clients of which the server does not know yet. */
  private readonly outside = new Set<Socket>();

  constructor(
    server: Server,
    private readonly terms: FrontDoorTerms,
  ) {
    const listeners = server.listeners('connection');
    server.removeAllListeners('connection');
    const letIn = (socket: Socket) => {
      for (const listener of listeners) listener.call(server, socket);
    };
    server.on('connection', (raw: Socket) => void this.admit(raw, letIn));
  }

  /** Hangs up on clients of which the server does not know yet. */
  hangUp(): void {
    for (const socket of this.outside) socket.destroy();
  }

  private async admit(raw: Socket, letIn: (socket: Socket) => void): Promise<void> {
    const ignore = () => {};
    raw.on('error', ignore);
    this.outside.add(raw);
    raw.once('close', () => this.outside.delete(raw));
    const isTls = this.terms.isRequired || (await this.firstByte(raw)) === HANDSHAKE;
    const socket = isTls ? await this.secure(raw) : this.plain(raw);
    this.outside.delete(raw);
    if (!socket) return;
    raw.off('error', ignore);
    letIn(socket);
    socket.resume();
  }

  private async secure(raw: Socket): Promise<Socket | undefined> {
    const client = addressOf(raw);
    const outcome = await this.terms.door.admit(raw);
    if ('refused' in outcome) {
      const { refused: reason, code } = outcome;
      this.note(client, 'tls', 'refused a TLS handshake', { reason, code });
      return undefined;
    }
    const { socket, proof } = outcome;
    this.terms.proofs.set(socket, proof);
    // The HTTP server hangs up on such a client, and logs nothing.
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code !== 'ERR_TLS_RENEGOTIATION_DISABLED') return;
      this.note(client, 'tls', 'closed a client', { reason: 'it tried to renegotiate TLS', code });
    });
    return socket;
  }

  /** Another machine must not even be told that HTTP is spoken here: its token would have crossed the network already. */
  private plain(raw: Socket): Socket | undefined {
    if (raw.destroyed) return undefined;
    const client = addressOf(raw);
    if (isLoopback(client)) return raw;
    this.note(client, 'tls', 'refused a client', { reason: 'it did not use TLS' });
    raw.destroy();
    return undefined;
  }

  /** Leaves the byte in the socket, which is paused afterwards. Undefined if the client has gone. */
  private firstByte(raw: Socket): Promise<number | undefined> {
    return new Promise((resolve) => {
      const hangUp = () => raw.destroy();
      const giveUp = () => {
        this.note(addressOf(raw), 'idle', 'hung up on a client', { reason: 'it sent nothing' });
        hangUp();
      };
      const done = (chunk: Buffer | boolean) => {
        raw.setTimeout(0).off('timeout', giveUp).off('end', hangUp).off('data', done).off('close', done);
        if (typeof chunk === 'boolean') return resolve(undefined);
        raw.pause().unshift(chunk);
        resolve(chunk[0]);
      };
      raw.setTimeout(this.terms.firstByteMilliseconds, giveUp);
      // A client that sends no more asks for nothing.
      raw.once('data', done).once('end', hangUp).once('close', done);
    });
  }

  private note(
    client: string,
    attempt: Attempt,
    what: string,
    fields: { readonly reason: string; readonly code?: string },
  ): void {
    this.terms.refusals.note(apiApplicant(client), attempt, fields, `${what}: ${fields.reason}`);
  }
}

function addressOf(socket: Socket): string {
  return normalAddress(socket.remoteAddress ?? '');
}
