import { constants, createHmac, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { descriptorOf } from '../posix/socket-descriptor.js';
import { type CertificateFacts, factsOf } from './names.js';
import { type AskedUser, refuseCertificate, refuseHandshake, type TlsRefusal } from './refusals.js';
import type { TlsSettings } from './tls-settings.js';

/** What a client has proven. With neither a certificate nor a key it is anybody. */
export interface TlsProof {
  readonly protocol: string;
  readonly cipher: string;
  readonly certificate?: CertificateFacts;
  /** The user whose key the client has. */
  readonly psk?: string;
}

/** A client that speaks TLS. Its socket is paused until somebody reads from it. */
export interface Admitted {
  readonly socket: TLSSocket;
  readonly proof: TlsProof;
}

/** TLS 1.3 comes first, and of it the fastest suite on processors with AES. */
const SUITES = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];
const CERTIFICATE_SUITES = ['ECDHE+AESGCM', 'ECDHE+CHACHA20'];
/** With keys, the first one alone has forward secrecy in TLS 1.2. */
const KEY_SUITES = ['ECDHE-PSK-CHACHA20-POLY1305', 'PSK+AESGCM'];

interface Pending {
  readonly admitted: (socket: TLSSocket) => void;
  readonly failed: (error: Error, socket: TLSSocket | undefined) => void;
}

/**
 * Makes connections that exist already into TLS connections, as their server. It wraps Node's TLS server, which never
 * listens, because only that server checks certificates: a bare TLSSocket lets every client in.
 */
export class TlsDoor {
  private server: Server;
  /** Clients in the handshake, by descriptor. */
  private readonly pending = new Map<number, Pending>();
  private readonly asked = new WeakMap<Socket, AskedUser>();
  private readonly secret = randomBytes(32);

  constructor(
    settings: TlsSettings,
    private readonly handshakeMilliseconds: number,
  ) {
    this.server = this.serverWith(settings);
  }

  /** From now on. Open connections stay as they are. */
  use(settings: TlsSettings): void {
    this.server = this.serverWith(settings);
  }

  /** Takes over `raw`, from which nothing may have been read that belongs to TLS. Never rejects. */
  async admit(raw: Socket): Promise<Admitted | TlsRefusal> {
    const fd = descriptorOf(raw);
    if (fd === undefined) return refuseHandshake(hangUp(), undefined);
    let settle: (outcome: Admitted | TlsRefusal) => void = () => {};
    const settled = new Promise<Admitted | TlsRefusal>((resolve) => {
      settle = resolve;
    });
    const own: Pending = {
      admitted: (socket) => settle(judge(socket, this.asked.get(socket))),
      failed: (error, socket) => settle(refuseHandshake(error, socket && this.asked.get(socket))),
    };
    this.pending.set(fd, own);
    raw.on('error', (error) => settle(refuseHandshake(error, undefined)));
    raw.on('close', () => settle(refuseHandshake(hangUp(), undefined)));
    // Otherwise a client that sends no more would stay until the time is over.
    raw.allowHalfOpen = false;
    this.server.emit('connection', raw);
    const outcome = await settled;
    // After a hang-up, the next client may have the descriptor already.
    if (this.pending.get(fd) === own) this.pending.delete(fd);
    if ('refused' in outcome) raw.destroy();
    return outcome;
  }

  private serverWith({ ca, certificate, key, crl, psk }: TlsSettings): Server {
    const suites = [...SUITES, ...(certificate ? CERTIFICATE_SUITES : []), ...(psk.size > 0 ? KEY_SUITES : [])];
    const server = createServer({
      // Without an authority of our own, no certificate is good: the default would be every public authority.
      ca: ca ?? [],
      ...(certificate !== undefined && { cert: certificate, key }),
      ...(crl !== undefined && { crl }),
      requestCert: true,
      // Clients without a certificate are let in, and `judge` has to tell them from those with a bad one.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      honorCipherOrder: true,
      ciphers: suites.join(':'),
      // A ticket would bring a client back past a new revocation list.
      secureOptions: constants.SSL_OP_NO_TICKET,
      handshakeTimeout: this.handshakeMilliseconds,
      ...(psk.size > 0 && { pskCallback: (socket: TLSSocket, user: string) => this.keyOf(psk, socket, user) }),
    });
    server.on('secureConnection', (socket) => this.take(socket)?.admitted(socket));
    server.on('tlsClientError', (error, socket) => this.take(socket)?.failed(error, socket));
    return server;
  }

  /** Who waits for this socket. A socket for which nobody waits is closed. */
  private take(socket: TLSSocket): Pending | undefined {
    // An error without a listener would end the process.
    socket.on('error', () => {});
    const fd = descriptorOf(socket);
    const pending = fd === undefined ? undefined : this.pending.get(fd);
    if (!pending) socket.destroy();
    return pending;
  }

  /** An unknown user gets a key too, always the same one, so that he cannot be told from a known user. */
  private keyOf(psk: ReadonlyMap<string, Uint8Array>, socket: TLSSocket, user: string): Uint8Array {
    const key = psk.get(user);
    this.asked.set(socket, { user, isKnown: key !== undefined });
    return key ?? createHmac('sha256', this.secret).update(user).digest();
  }
}

/**
 * Decides about a client whose handshake is complete. `authorized` without a certificate means that a key was used; that
 * the client has named a user means nothing, because TLS 1.3 goes on without the key if the suites do not fit it.
 */
function judge(socket: TLSSocket, asked: AskedUser | undefined): Admitted | TlsRefusal {
  const certificate = socket.getPeerX509Certificate();
  if (certificate && !socket.authorized) {
    socket.destroy();
    return refuseCertificate(certificate, String(socket.authorizationError));
  }
  socket.disableRenegotiation();
  socket.allowHalfOpen = true;
  const psk = !certificate && socket.authorized && asked?.isKnown ? asked.user : undefined;
  const { standardName } = socket.getCipher();
  const proof = {
    protocol: socket.getProtocol() ?? '',
    cipher: standardName,
    ...(certificate && { certificate: factsOf(certificate) }),
    ...(psk !== undefined && { psk }),
  };
  return { socket, proof };
}

function hangUp(): Error {
  return Object.assign(new Error('the connection is gone'), { code: 'ECONNRESET' });
}
