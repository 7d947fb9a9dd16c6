import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { MemoryBudget } from '../../src/session/memory-budget.js';
import { ReceiveBuffer } from '../../src/session/receive-buffer.js';

/** A buffer, and the memory that it has accounted for. */
function receiveBuffer(limitBytes = 64 * MIB) {
  const budget = new MemoryBudget(limitBytes);
  const memory = budget.open(() => {});
  return { input: new ReceiveBuffer(memory), memory, budget };
}

/** Puts `bytes` into the room that the buffer names, as a socket would: as many at a time as fit. */
function receive(input: ReceiveBuffer, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    const count = bytes.copy(input.room(), 0, at);
    expect(count).toBeGreaterThan(0);
    input.appended(count);
    at += count;
  }
}

function content(input: ReceiveBuffer): Buffer {
  return input.buffer.subarray(input.start, input.end);
}

/** Bytes that tell where they belong. */
function pattern(lengthBytes: number): Buffer {
  return Buffer.from(Array.from({ length: lengthBytes }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
}

test('a message that arrives in two parts lies in one piece, wherever it was split', () => {
  const message = pattern(60);
  for (let at = 1; at < message.length; at++) {
    const { input } = receiveBuffer();
    receive(input, message.subarray(0, at));
    receive(input, message.subarray(at));
    expect(content(input)).toEqual(message);
  }
});

test('a partial message keeps its bytes when it is moved to the front', () => {
  const { input } = receiveBuffer();
  const stream = pattern(64 * KIB);
  receive(input, stream);
  input.consume(64 * KIB - 10);
  input.has(1000);
  input.room();
  expect([input.start, input.end]).toEqual([0, 10]);
  expect(content(input)).toEqual(stream.subarray(-10));
});

test('a message larger than the buffer moves to a larger one with its bytes', () => {
  const { input, memory } = receiveBuffer();
  const message = pattern(300 * KIB);
  receive(input, message.subarray(0, 40));
  expect(input.has(message.length)).toBe(false);
  receive(input, message.subarray(40));
  expect(content(input).equals(message)).toBe(true);
  expect(memory.heldBytes).toBe(input.buffer.length);
});

test('the room of a long message ends where the message does', () => {
  const { input } = receiveBuffer();
  receive(input, pattern(28));
  input.has(200 * KIB);
  expect(input.room()).toHaveLength(200 * KIB - 28);
});

test('reading starts at the front again when everything was consumed', () => {
  const { input } = receiveBuffer();
  receive(input, pattern(100));
  input.consume(100);
  input.has(28);
  expect(input.room()).toBe(input.buffer);
  expect([input.start, input.end]).toEqual([0, 0]);
});

test('a buffer changes only when room is asked for', () => {
  const { input } = receiveBuffer();
  receive(input, pattern(28));
  const { buffer } = input;
  input.has(8 * MIB);
  input.claimRoom();
  input.giveAway();
  expect(input.buffer).toBe(buffer);
  input.room();
  expect(input.buffer).not.toBe(buffer);
});

test('a message above 1 MiB gets a buffer only after its memory was claimed', () => {
  const { input, memory } = receiveBuffer(0);
  receive(input, pattern(28));
  input.has(8 * MIB);
  expect(input.claimRoom()).toBe(false);
  expect(memory.waiting).toBe(true);
  expect(input.room().length).toBeLessThan(64 * KIB);
  expect(memory.heldBytes).toBe(64 * KIB);
});

test('a message above 1 MiB gets a buffer when its memory was claimed, and claims it once', () => {
  const { input, memory } = receiveBuffer();
  receive(input, pattern(28));
  input.has(8 * MIB);
  expect([input.claimRoom(), memory.heldBytes]).toEqual([true, 8 * MIB]);
  expect([input.claimRoom(), memory.heldBytes]).toEqual([true, 8 * MIB]);
  expect(input.room()).toHaveLength(8 * MIB - 28);
  expect(content(input)).toEqual(pattern(28));
  expect(memory.heldBytes).toBe(8 * MIB);
});

test('a large buffer shrinks to 1 MiB after its message', () => {
  const { input, memory } = receiveBuffer();
  receive(input, pattern(28));
  input.has(8 * MIB);
  input.claimRoom();
  receive(input, Buffer.alloc(8 * MIB - 28));
  input.consume(8 * MIB);
  input.has(28);
  expect(input.room()).toHaveLength(MIB);
  expect(memory.heldBytes).toBe(MIB);
});

test('a buffer that was given away is replaced, and the bytes after its message are kept', () => {
  const { input, memory } = receiveBuffer();
  const stream = pattern(1000);
  receive(input, stream);
  const taken = input.buffer;
  const claim = input.giveAway();
  input.consume(900);
  receive(input, pattern(5));
  expect(input.buffer).not.toBe(taken);
  expect(content(input)).toEqual(Buffer.concat([stream.subarray(900), pattern(5)]));
  expect(taken.subarray(0, 1000)).toEqual(stream);
  // Its memory is the consumer's, and the new buffer has its own.
  expect([claim.bytes, memory.heldBytes]).toEqual([taken.length, taken.length + input.buffer.length]);
  claim.release();
  expect(memory.heldBytes).toBe(input.buffer.length);
});

test('a buffer given away twice before it is replaced is counted twice, and never too little', () => {
  const { input, memory } = receiveBuffer();
  receive(input, pattern(1000));
  const claims = [input.giveAway(), input.giveAway()];
  expect(claims.map(({ bytes }) => bytes)).toEqual([64 * KIB, 64 * KIB]);
  input.room();
  for (const claim of claims) claim.release();
  expect(memory.heldBytes).toBe(input.buffer.length);
});

test('what is skipped never becomes content, wherever the stream is split', () => {
  const stream = pattern(300);
  for (let split = 10; split <= stream.length; split++) {
    const { input } = receiveBuffer();
    receive(input, stream.subarray(0, split));
    input.consume(10);
    input.skip(200);
    receive(input, stream.subarray(split));
    expect(content(input)).toEqual(stream.subarray(210));
  }
});

test('a skipped message of any length takes no memory, and skipped parts add up', () => {
  const { input, memory } = receiveBuffer();
  input.skip(40 * MIB);
  input.skip(10);
  for (let i = 0; i < 40; i++) receive(input, Buffer.alloc(MIB));
  receive(input, Buffer.concat([Buffer.alloc(10), pattern(5)]));
  expect(content(input)).toEqual(pattern(5));
  expect([input.buffer.length, memory.heldBytes]).toEqual([64 * KIB, 64 * KIB]);
});

test('a closed buffer has released its memory', () => {
  const { input, budget, memory } = receiveBuffer();
  input.has(8 * MIB);
  input.claimRoom();
  input.close();
  expect([memory.heldBytes, budget.use.usedBytes]).toEqual([0, 0]);
});

test('says when a long message is there as a whole, behind which there is hardly any room', () => {
  const { input } = receiveBuffer();
  input.has(200 * KIB);
  receive(input, Buffer.alloc(200 * KIB - 1));
  expect(input.hasLongMessage).toBe(false);
  receive(input, Buffer.alloc(1));
  expect(input.hasLongMessage).toBe(true);
  input.consume(200 * KIB);
  input.has(28);
  receive(input, Buffer.alloc(28));
  expect(input.hasLongMessage).toBe(false);
});
