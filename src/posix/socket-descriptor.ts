import type { Socket } from 'node:net';

/** Handles of Node that only write and read. A TLS handle has the descriptor of its socket too, but encrypts. */
const PLAIN_HANDLES: ReadonlySet<string> = new Set(['Pipe', 'TCP']);

/** An undocumented field of Node: the libuv handle of a socket. */
interface SocketWithHandle {
  readonly _handle?: { readonly fd: number } | null;
}

/** Whether this is a unix socket. Its peer is on this machine, whatever is known about it. */
export function isUnixSocket(socket: Socket): boolean {
  const { _handle: handle } = socket as unknown as SocketWithHandle;
  return handle?.constructor.name === 'Pipe';
}

/** The descriptor of an open socket, whatever is above it; undefined after it was closed. */
export function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as unknown as SocketWithHandle;
  return handle && handle.fd >= 0 ? handle.fd : undefined;
}

/** The descriptor of an open socket; undefined if what is written there would not reach the peer unchanged. */
export function plainDescriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as unknown as SocketWithHandle;
  return handle && PLAIN_HANDLES.has(handle.constructor.name) ? descriptorOf(socket) : undefined;
}
