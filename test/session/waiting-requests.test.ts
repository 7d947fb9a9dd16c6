import { expect, test } from 'vitest';
import { GIB, MIB } from '../../src/base/units.js';
import { Command } from '../../src/protocol/constants.js';
import { Request } from '../../src/protocol/request.js';
import { MemoryBudget } from '../../src/session/memory-budget.js';
import { WaitingRequests } from '../../src/session/waiting-requests.js';

function waitingRequests() {
  const waiting = new WaitingRequests();
  const memory = new MemoryBudget(GIB).open(() => {});
  const admit = (command: Command = Command.FLUSH, bytes = 0) => {
    const request = Object.assign(new Request(), { command, cookieLow: 7 });
    return waiting.admit(request, 0, bytes > 0 ? memory.claim(bytes) : undefined);
  };
  return { waiting, memory, admit };
}

test.each([
  ['128 requests', Command.FLUSH, 0, 128],
  ['32 MiB of payload', Command.WRITE, 8 * MIB, 4],
  ['2 block status requests', Command.BLOCK_STATUS, 0, 2],
])('a connection is full with %s, and has room again when one of them is answered', (_what, command, bytes, count) => {
  const { waiting, admit } = waitingRequests();
  const requests = Array.from({ length: count - 1 }, () => admit(command, bytes));
  expect(waiting.isFull).toBe(false);
  requests.push(admit(command, bytes));
  expect(waiting.isFull).toBe(true);
  requests[0]!.release();
  expect(waiting.isFull).toBe(false);
  for (const request of requests) request.release();
  expect(waiting.isEmpty).toBe(true);
});

test('a request gives back its place and its memory once, however often it is released', () => {
  const { waiting, memory, admit } = waitingRequests();
  const [first, second] = [admit(Command.WRITE, MIB), admit(Command.WRITE, MIB)];
  first.release();
  first.release();
  expect([waiting.isEmpty, memory.heldBytes]).toEqual([false, MIB]);
  second.release();
  expect([waiting.isEmpty, memory.heldBytes]).toEqual([true, 0]);
});

test('a request keeps what it was admitted with when the record that it came from is filled again', () => {
  const { waiting } = waitingRequests();
  const record = Object.assign(new Request(), { command: Command.BLOCK_STATUS, cookieLow: 7, offset: 512 });
  const [first, second] = [waiting.admit(record, 0, undefined), waiting.admit(record, 0, undefined)];
  Object.assign(record, { command: Command.READ, cookieLow: 8, offset: 0 });
  expect(first).toMatchObject({ command: Command.BLOCK_STATUS, cookieLow: 7, offset: 512 });
  expect(waiting.isFull).toBe(true);
  first.release();
  second.release();
  expect(waiting.isEmpty).toBe(true);
});
