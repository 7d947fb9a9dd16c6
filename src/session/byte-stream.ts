import { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { KIB } from '../base/units.js';
import { plainDescriptorOf } from '../posix/socket-descriptor.js';
import { setOnRead } from './on-read.js';

/** Receives the bytes of a stream in its own buffer, so that they need not be copied. */
export interface StreamReader {
  /** Where the next bytes go: at least one byte of room. Called again after each `received`. */
  room(): Buffer;
  /**
   * The first `count` bytes of the room have been filled. Returns false to pause the stream until `resume`. With `more`,
   * another call follows in the same turn of the event loop, perhaps with a count of 0.
   */
  received(count: number, more?: boolean): boolean;
  /** The peer sends no more, or the connection broke with `error`. */
  ended(error?: Error): void;
}

/** An undocumented field of Node: the libuv handle of a socket. */
interface SocketWithHandle {
  _handle: object | null;
}

/** Options of `Socket` for a connection that exists already. `handle` is undocumented. */
type Connected = { readonly handle: object } | { readonly fd: number };

/**
 * Moves the connection of `accepted` to a new socket that reads straight into the reader's buffer. Node has that option
 * (`onread`) only for sockets that it creates itself. `accepted` must have been accepted with `pauseOnConnect`. Returns
 * undefined where the socket has no such handle.
 */
function adoptHandle(accepted: Socket, reader: StreamReader): Socket | undefined {
  const owner = accepted as unknown as SocketWithHandle;
  const handle = owner._handle;
  if (!handle || plainDescriptorOf(accepted) === undefined) return undefined;
  if (typeof (handle as { useUserBuffer?: unknown }).useUserBuffer !== 'function') return undefined;
  owner._handle = null;
  const socket = socketOver({ handle }, reader);
  // Tells the listener that its socket is gone; the handle stays open.
  accepted.destroy();
  return socket;
}

/**
 * Moves the connection of a socket to a new one that reads nothing yet, for TLS. What the system has received stays
 * there. Undefined where the socket has no handle of its own.
 */
export function plainSocketOf(socket: Socket): Socket | undefined {
  const owner = socket as unknown as SocketWithHandle;
  const handle = owner._handle;
  if (!handle || plainDescriptorOf(socket) === undefined) return undefined;
  owner._handle = null;
  const plain = new Socket({
    handle,
    readable: true,
    writable: true,
    allowHalfOpen: true,
    pauseOnCreate: true,
  } as object);
  socket.destroy();
  return plain;
}

function socketOver(connected: Connected, reader: StreamReader): Socket {
  return new Socket({
    ...connected,
    readable: true,
    writable: true,
    allowHalfOpen: true,
    onread: { buffer: () => reader.room(), callback: (count: number) => reader.received(count) },
  } as object);
}

type Receiver = Pick<StreamReader, 'room' | 'received'>;

/** Copies the bytes of 'data' events, for sockets that cannot read into a buffer of their reader. */
function copyInto(reader: Receiver, socket: Socket): void {
  socket.on('data', (chunk: Buffer) => {
    if (!copyChunk(chunk, reader)) socket.pause();
  });
}

/** Returns false to pause the stream. */
function copyChunk(chunk: Buffer, reader: Receiver): boolean {
  let goOn = true;
  for (let at = 0; at < chunk.length; ) {
    const count = chunk.copy(reader.room(), 0, at);
    at += count;
    goOn = reader.received(count);
  }
  return goOn;
}

/** So much is gathered at a time. */
const MOST_GATHERED_BYTES = 256 * KIB;

/**
 * Passes what a socket with TLS receives in one turn of the event loop on at once: Node passes each record on by itself,
 * and some clients send each request in a record of its own.
 */
class GatheringReader implements Receiver {
  private gatheredBytes = 0;
  private isScheduled = false;
  private readonly deliver = () => this.deliverNow();

  constructor(
    private readonly reader: StreamReader,
    private readonly socket: Socket,
  ) {
    // Before the reader is told.
    socket.prependListener('end', this.deliver);
  }

  room(): Buffer {
    return this.reader.room();
  }

  received(count: number): boolean {
    this.gatheredBytes += count;
    if (this.gatheredBytes >= MOST_GATHERED_BYTES) {
      this.gatheredBytes = 0;
      return this.reader.received(count);
    }
    if (!this.isScheduled) setImmediate(this.deliver);
    this.isScheduled = true;
    return this.reader.received(count, true);
  }

  private deliverNow(): void {
    this.isScheduled = false;
    if (this.gatheredBytes === 0 || this.socket.destroyed) return;
    this.gatheredBytes = 0;
    if (!this.reader.received(0)) this.socket.pause();
  }
}

function readSecured(socket: TLSSocket, reader: StreamReader): void {
  const gathering = new GatheringReader(reader, socket);
  // Decrypted together with the end of the handshake.
  for (let chunk = socket.read(); chunk; chunk = socket.read()) copyChunk(chunk, gathering);
  const onRead = { buffer: () => gathering.room(), callback: (count: number) => gathering.received(count) };
  if (!setOnRead(socket, onRead)) copyInto(gathering, socket);
}

function attachReader(stream: Stream, reader: StreamReader): Socket {
  if ('fd' in stream) return socketOver({ fd: stream.fd }, reader);
  if ('secured' in stream) {
    readSecured(stream.secured, reader);
    return stream.secured;
  }
  const adopted = adoptHandle(stream.accepted, reader);
  if (!adopted) copyInto(reader, stream.accepted);
  return adopted ?? stream.accepted;
}

/** Where the bytes come from: an accepted socket, one with TLS, or the descriptor of a connected one. */
export type Stream = { readonly accepted: Socket } | { readonly secured: TLSSocket } | { readonly fd: number };

/** Connects a stream to its reader and starts reading. Returns the socket to write to, pause and end. */
export function openStream(stream: Stream, reader: StreamReader): Socket {
  const socket = attachReader(stream, reader);
  socket.on('end', () => reader.ended());
  socket.on('error', (error) => reader.ended(error));
  socket.on('close', () => reader.ended());
  socket.resume();
  return socket;
}
