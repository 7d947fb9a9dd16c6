import { Socket } from 'node:net';

/** Takes what a stream brings. It names the place for the bytes, so that they need not be copied. */
export interface StreamReader {
  /** Where the next bytes go: at least one byte of room. Asked again after each `received`. */
  room(): Buffer;
  /** `count` bytes lie at the start of the room. False: bring no more until `resume`. */
  received(count: number): boolean;
  /** The peer will send no more, or the connection broke with `error`. */
  ended(error?: Error): void;
}

/** What Node keeps to itself about a socket and its libuv handle. */
interface SocketWithHandle {
  _handle: object | null;
}

interface AdoptingSocketOptions {
  handle: object;
  allowHalfOpen: boolean;
  onread: { buffer: () => Buffer; callback: (count: number) => boolean };
}

/**
 * The same connection as `accepted`, reading straight into the reader's own buffer. Node offers that (`onread`) for
 * sockets it makes itself, so the handle of an accepted one is moved to a new socket; `accepted` must have been
 * accepted with `pauseOnConnect`. Undefined where Node has no handle to give, as under TLS.
 */
function adoptHandle(accepted: Socket, reader: StreamReader): Socket | undefined {
  const owner = accepted as unknown as SocketWithHandle;
  const handle = owner._handle;
  if (!handle || typeof (handle as { useUserBuffer?: unknown }).useUserBuffer !== 'function') return undefined;
  owner._handle = null;
  const options: AdoptingSocketOptions = {
    handle,
    allowHalfOpen: true,
    onread: { buffer: () => reader.room(), callback: (count) => reader.received(count) },
  };
  const socket = new Socket(options as object);
  // Tells the listener that its own socket is gone; the handle lives on.
  accepted.destroy();
  return socket;
}

/** Brings the bytes by 'data' events and a copy: for sockets whose handle cannot be moved. */
function copyInto(reader: StreamReader, socket: Socket): void {
  socket.on('data', (chunk: Buffer) => {
    let goOn = true;
    for (let at = 0; at < chunk.length; ) {
      const count = chunk.copy(reader.room(), 0, at);
      at += count;
      goOn = reader.received(count);
    }
    if (!goOn) socket.pause();
  });
}

/** Ties an accepted socket to its reader and starts reading. Returns the socket to write to, and to pause and end. */
export function attachReader(accepted: Socket, reader: StreamReader): Socket {
  const adopted = adoptHandle(accepted, reader);
  const socket = adopted ?? accepted;
  if (!adopted) copyInto(reader, socket);
  socket.on('end', () => reader.ended());
  socket.on('error', (error) => reader.ended(error));
  socket.on('close', () => reader.ended());
  socket.resume();
  return socket;
}
