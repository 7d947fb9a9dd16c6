import { Socket } from 'node:net';

/** Receives the bytes of a stream in its own buffer, so that they need not be copied. */
export interface StreamReader {
  /** Where the next bytes go: at least one byte of room. Called again after each `received`. */
  room(): Buffer;
  /** The first `count` bytes of the room have been filled. Returns false to pause the stream until `resume`. */
  received(count: number): boolean;
  /** The peer sends no more, or the connection broke with `error`. */
  ended(error?: Error): void;
}

/** An undocumented field of Node: the libuv handle of a socket. */
interface SocketWithHandle {
  _handle: object | null;
}

interface AdoptingSocketOptions {
  handle: object;
  allowHalfOpen: boolean;
  onread: { buffer: () => Buffer; callback: (count: number) => boolean };
}

/**
 * Moves the connection of `accepted` to a new socket that reads straight into the reader's buffer. Node has that option
 * (`onread`) only for sockets that it creates itself. `accepted` must have been accepted with `pauseOnConnect`. Returns
 * undefined where the socket has no such handle, for example under TLS.
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
  // Tells the listener that its socket is gone; the handle stays open.
  accepted.destroy();
  return socket;
}

/** Copies the bytes of 'data' events, for sockets whose handle cannot be moved. */
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

/** Connects an accepted socket to its reader and starts reading. Returns the socket to write to, pause and end. */
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
