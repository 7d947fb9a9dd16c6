import { Duplex } from 'node:stream';
import { connect, createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import type { TlsSettings } from './tls-settings.js';

/**
 * Makes TLS with itself, so that OpenSSL judges a certificate as a peer with the same authority does. Resolves to the
 * code of its objection; undefined if it has none.
 */
export function tryCertificate(
  role: 'server' | 'client',
  { ca, crl, certificate, key }: Omit<TlsSettings, 'psk'>,
): Promise<string | undefined> {
  const own = { cert: certificate, key };
  const trust = { ca, ...(crl !== undefined && { crl }) };
  const isServer = role === 'server';
  // In the part that is not tried, the same certificate serves, and nobody looks at it.
  const serverOptions = { ...own, ...trust, requestCert: !isServer, rejectUnauthorized: false, minVersion: 'TLSv1.2' };
  const [near, far] = connectedPair();
  return new Promise((resolve) => {
    const finish = (objection: string | undefined) => {
      near.destroy();
      far.destroy();
      resolve(objection);
    };
    const fail = (error: NodeJS.ErrnoException) => finish(error.code ?? error.message);
    const judge = (socket: TLSSocket) => finish(socket.authorized ? undefined : String(socket.authorizationError));
    const server = createServer(serverOptions as TlsOptions, (socket) => {
      socket.on('error', fail);
      if (!isServer) judge(socket);
    });
    server.on('tlsClientError', fail);
    server.emit('connection', far);
    const client = connect({
      socket: near,
      ...own,
      ...(isServer && trust),
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    client.on('error', fail);
    client.once('secureConnect', () => {
      if (isServer) judge(client);
    });
  });
}

/** Two ends of a connection within this process. */
function connectedPair(): [Duplex, Duplex] {
  const [near, far] = [new End(), new End()];
  near.peer = far;
  far.peer = near;
  return [near, far];
}

class End extends Duplex {
  peer: End | undefined;

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.peer!.push(chunk);
    done();
  }

  override _final(done: () => void): void {
    this.peer!.push(null);
    done();
  }
}
