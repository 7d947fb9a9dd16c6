import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { ReceiveBuffer } from '../../src/session/receive-buffer.js';

/** A buffer, and the memory that it has accounted for. */
function receiveBuffer() {
  const memory = {
    heldBytes: 0,
    add(bytes: number) {
      this.heldBytes += bytes;
    },
  };
  return { input: new ReceiveBuffer(memory), memory };
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
  input.consumed(64 * KIB - 10, 1000);
  input.room();
  expect([input.start, input.end]).toEqual([0, 10]);
  expect(content(input)).toEqual(stream.subarray(-10));
});

test('a message larger than the buffer moves to a larger one with its bytes', () => {
  const { input, memory } = receiveBuffer();
  const message = pattern(300 * KIB);
  receive(input, message.subarray(0, 40));
  input.consumed(0, message.length);
  receive(input, message.subarray(40));
  expect(content(input).equals(message)).toBe(true);
  expect(memory.heldBytes).toBe(input.buffer.length);
});

test('the room of a long message ends where the message does', () => {
  const { input } = receiveBuffer();
  receive(input, pattern(28));
  input.consumed(0, 200 * KIB);
  expect(input.room()).toHaveLength(200 * KIB - 28);
});

test('reading starts at the front again when everything was consumed', () => {
  const { input } = receiveBuffer();
  receive(input, pattern(100));
  input.consumed(100, 28);
  expect(input.room()).toBe(input.buffer);
  expect([input.start, input.end]).toEqual([0, 0]);
});

test('a buffer changes only when room is asked for', () => {
  const { input } = receiveBuffer();
  receive(input, pattern(28));
  const { buffer } = input;
  input.consumed(0, 8 * MIB);
  input.pay(input.unpaidBytes);
  input.giveAway();
  expect(input.buffer).toBe(buffer);
  input.room();
  expect(input.buffer).not.toBe(buffer);
});

test('a message above 1 MiB gets a buffer only after its memory was claimed', () => {
  const { input, memory } = receiveBuffer();
  receive(input, pattern(28));
  input.consumed(0, 8 * MIB);
  expect(input.unpaidBytes).toBe(8 * MIB - 64 * KIB);
  expect(input.room().length).toBeLessThan(64 * KIB);

  memory.add(input.unpaidBytes);
  input.pay(input.unpaidBytes);
  expect(input.unpaidBytes).toBe(0);
  expect(input.room()).toHaveLength(8 * MIB - 28);
  expect(content(input)).toEqual(pattern(28));
  expect(memory.heldBytes).toBe(8 * MIB);
});

test('a large buffer shrinks to 1 MiB after its message', () => {
  const { input, memory } = receiveBuffer();
  receive(input, pattern(28));
  input.consumed(0, 8 * MIB);
  memory.add(input.unpaidBytes);
  input.pay(input.unpaidBytes);
  receive(input, Buffer.alloc(8 * MIB - 28));
  input.consumed(input.end, 28);
  expect(input.room()).toHaveLength(MIB);
  expect(memory.heldBytes).toBe(MIB);
});

test('a buffer that was given away is replaced, and the bytes after its message are kept', () => {
  const { input } = receiveBuffer();
  const stream = pattern(1000);
  receive(input, stream);
  const taken = input.buffer;
  input.consumed(900, 28);
  input.giveAway();
  receive(input, pattern(5));
  expect(input.buffer).not.toBe(taken);
  expect(content(input)).toEqual(Buffer.concat([stream.subarray(900), pattern(5)]));
  expect(taken.subarray(0, 1000)).toEqual(stream);
});
