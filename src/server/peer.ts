import type { Socket } from 'node:net';
import { type Identity, isLocal, normalAddress, operator } from '../access/identity.js';
import { originOf } from '../access/origin.js';
import type { Posix } from '../posix/posix-calls.js';
import { isUnixSocket, plainDescriptorOf } from '../posix/socket-descriptor.js';
import type { Peer } from '../session/connection.js';

/**
 * Who a client is before it has proved anything. Undefined for a client of TCP that has gone already: its address is not
 * known any more, but what it sent could still be read.
 */
export function peerOf(socket: Socket, posix: Posix | undefined): Peer | undefined {
  if (isUnixSocket(socket)) {
    const fd = plainDescriptorOf(socket);
    const unix = fd === undefined ? undefined : posix?.peerOfNow(fd);
    const identity: Identity = { over: 'nbd', from: { kind: 'unix' }, encrypted: false, unix };
    return { client: 'unix', origin: originOfIdentity(identity), identity };
  }
  if (socket.remoteAddress === undefined) return undefined;
  const address = normalAddress(socket.remoteAddress);
  const identity: Identity = { over: 'nbd', from: { kind: 'tcp', address }, encrypted: false };
  return { client: `${address}:${socket.remotePort}`, origin: originOfIdentity(identity), identity };
}

/** The client on stdin and stdout: whoever started this server, unless inetd passed on a client of a network. */
export function stdioPeer(socket: Socket, posix: Posix | undefined): Peer | undefined {
  const peer = peerOf(socket, posix);
  return peer && isLocal(peer.identity) ? { ...peer, identity: operator } : peer;
}

/** See `originOf`; users of this machine are told apart. */
function originOfIdentity({ from, unix }: Identity): string {
  if (from.kind === 'unix') return unix ? `unix:${unix.uid}` : 'unix';
  return originOf(from.address);
}
