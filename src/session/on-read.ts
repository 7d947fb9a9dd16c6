import type { Socket } from 'node:net';

/** Where a socket puts what it receives. */
export interface OnRead {
  /** Room for the next bytes. Called again after each `callback`. */
  readonly buffer: () => Buffer;
  /** The first `count` bytes of the room have been filled. Returns false to pause the socket. */
  readonly callback: (count: number) => boolean;
}

/** The names of the symbols under which Node keeps a room, `buffer` and `callback`. Undocumented, like `_handle`. */
const FIELD_NAMES = ['kBuffer', 'kBufferGen', 'kBufferCb'];

interface SocketWithHandle {
  readonly _handle?: { readonly useUserBuffer?: unknown } | null;
}

/**
 * Gives an open socket Node's option `onread`, which servers with TLS have no way to ask for. The socket must hold no
 * received bytes. Returns false, with nothing changed, if this version of Node keeps the option elsewhere.
 */
export function setOnRead(socket: Socket, { buffer, callback }: OnRead): boolean {
  const { _handle: handle } = socket as unknown as SocketWithHandle;
  const symbols = Object.getOwnPropertySymbols(socket);
  const fields = FIELD_NAMES.map((name) => symbols.find(({ description }) => description === name));
  if (typeof handle?.useUserBuffer !== 'function' || fields.includes(undefined)) return false;
  const room = buffer();
  const values = [room, buffer, callback];
  for (const [index, field] of fields.entries()) Object.assign(socket, { [field!]: values[index] });
  handle.useUserBuffer(room);
  return true;
}
