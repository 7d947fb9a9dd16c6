import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { MemoryBudget } from '../../src/session/memory-budget.js';
import { type Piece, PiecePool } from '../../src/session/piece-pool.js';
import { ReplyWriter } from '../../src/session/reply-writer.js';

/** A socket whose kernel takes everything at once, or nothing while it is `behind`. */
class ScriptedSocket {
  readonly writes: Buffer[] = [];
  writableLength = 0;
  behind = false;

  write(bytes: Buffer): void {
    // Like a real socket, it holds the caller's own bytes for as long as it has not sent them.
    this.writes.push(this.behind ? bytes : Buffer.from(bytes));
    if (this.behind) this.writableLength += bytes.length;
  }

  get sent(): string {
    return Buffer.concat(this.writes).toString();
  }
}

/** A pool that knows the pieces that nobody has released. */
class WatchedPool extends PiecePool {
  private readonly pieces = new Set<Piece>();

  get taken(): number {
    return [...this.pieces].filter(({ isTaken }) => isTaken).length;
  }

  override take(): Piece {
    const piece = super.take();
    this.pieces.add(piece);
    return piece;
  }
}

function replyWriter(socket = new ScriptedSocket()) {
  const pool = new WatchedPool();
  const memory = new MemoryBudget(MIB).open(() => {});
  const writer = new ReplyWriter(socket as unknown as Socket, pool, memory);
  const put = (text: string) => {
    const at = writer.reserve(text.length);
    writer.piece.write(text, at);
  };
  return { socket, pool, memory, writer, put };
}

test('sends everything that was put in one pass in a single write', () => {
  const { socket, writer, put } = replyWriter();
  put('one ');
  put('two');
  expect(socket.writes).toHaveLength(0);
  writer.flush();
  expect([socket.sent, socket.writes.length]).toEqual(['one two', 1]);
  writer.flush();
  expect(socket.writes).toHaveLength(1);
});

test('sends a message of its own after everything that was put before it', () => {
  const { socket, writer, put } = replyWriter();
  put('put ');
  writer.send(Buffer.from('sent '));
  put('later');
  writer.flush();
  expect(socket.sent).toBe('put sent later');
});

test('fills the same piece again if the kernel took it at once', () => {
  const { writer, put, pool } = replyWriter();
  const { piece } = writer;
  put('one');
  writer.flush();
  expect([writer.piece === piece, writer.used, pool.taken]).toEqual([true, 0, 1]);
});

test('queues a full piece and keeps the order', () => {
  const { socket, writer, put } = replyWriter();
  const first = writer.room() - 2;
  put('a'.repeat(first));
  put('bcd');
  expect([writer.filledCount, writer.used]).toEqual([1, 3]);
  writer.flush();
  expect(socket.sent === `${'a'.repeat(first)}bcd`).toBe(true);
});

test('always reports room for at least one byte', () => {
  const { writer } = replyWriter();
  writer.reserve(writer.room());
  expect(writer.room()).toBeGreaterThan(0);
});

test('a reservation larger than a piece is a bug', () => {
  const { writer } = replyWriter();
  expect(() => writer.reserve(MIB)).toThrow();
});

test('removes what a failed reply has put, across pieces', () => {
  const { socket, pool, writer, put } = replyWriter();
  put('kept');
  const { filledCount, used } = writer;
  for (let i = 0; i < 3; i++) writer.reserve(writer.room());
  writer.rollBack(filledCount, used);
  put(' and more');
  writer.flush();
  expect([socket.sent, pool.taken]).toEqual(['kept and more', 1]);
});

test('does not touch a piece that the socket still holds', () => {
  const { socket, pool, writer, put } = replyWriter();
  socket.behind = true;
  const text = 'a'.repeat(64 * KIB);
  put(text);
  const held = writer.piece;
  writer.flush();
  expect(writer.piece).not.toBe(held);
  put('b');
  writer.flush();
  expect(socket.sent === `${text}b`).toBe(true);

  // The pieces come back once the socket has sent everything.
  socket.behind = false;
  socket.writableLength = 0;
  put('c');
  writer.flush();
  expect(pool.taken).toBe(1);
});

test('copies a small piece while the socket is behind', () => {
  const { socket, writer, put } = replyWriter();
  socket.behind = true;
  writer.send(Buffer.from('first '));
  const { piece } = writer;
  put('second');
  writer.flush();
  expect(writer.piece).toBe(piece);
  put('THIRD!');
  expect(socket.sent).toBe('first second');
});

test('has no room while 2 MiB are unsent, and room again after a drain', () => {
  const { socket, memory, writer } = replyWriter();
  socket.behind = true;
  writer.send(Buffer.alloc(2 * MIB - 600));
  expect(writer.hasRoom).toBe(true);
  writer.send(Buffer.alloc(100));
  expect(writer.hasRoom).toBe(false);
  expect(memory.heldBytes).toBeGreaterThanOrEqual(2 * MIB);

  socket.writableLength = 0;
  writer.count();
  expect([writer.hasRoom, memory.heldBytes]).toEqual([true, 0]);
});

test('with TLS, has no room while a large reply has not been sent', () => {
  const socket = Object.defineProperties(
    Object.create(TLSSocket.prototype),
    Object.getOwnPropertyDescriptors({ writableLength: 0, write() {} }),
  );
  const { writer } = replyWriter(socket);
  const roomBehind = (unsentBytes: number) => {
    socket.writableLength = unsentBytes;
    return writer.hasRoom;
  };
  expect([128 * KIB, 256 * KIB, 0].map(roomBehind)).toEqual([true, false, true]);
});

test('many small unsent replies use up the room by their overhead', () => {
  const { socket, writer } = replyWriter();
  socket.behind = true;
  let sent = 0;
  while (writer.hasRoom) {
    writer.send(Buffer.alloc(16));
    sent++;
  }
  expect(sent).toBe(Math.ceil((2 * MIB) / (512 + 16)));
});

test('releases its pieces and its memory when it is closed', () => {
  const { socket, pool, memory, writer } = replyWriter();
  socket.behind = true;
  writer.send(Buffer.alloc(MIB));
  for (let i = 0; i < 3; i++) writer.reserve(writer.room());
  expect([pool.taken, memory.heldBytes]).toEqual([3, MIB + 512]);
  writer.close();
  expect([pool.taken, memory.heldBytes]).toEqual([0, 0]);
});

test('a piece is used again after its release, by one owner at a time', () => {
  const pool = new PiecePool();
  const piece = pool.take();
  piece.release();
  piece.release();
  expect([pool.take() === piece, pool.take() === piece]).toEqual([true, false]);
});
