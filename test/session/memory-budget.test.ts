import { describe, expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import * as nbd from '../../src/protocol/constants.js';
import { MemoryBudget, OWN_BYTES, partsOf } from '../../src/session/memory-budget.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';
import { startMemoryServer } from '../support/memory-server.js';
import { encodeRequest } from '../support/raw-client.js';

const { Command } = nbd;

describe('a memory budget', () => {
  const LIMIT = 120 * MIB;
  const settle = () => new Promise((resolve) => setImmediate(resolve));

  function budgetOf(limitBytes = LIMIT) {
    let now = 0;
    const budget = new MemoryBudget(limitBytes, () => now);
    const open = (onRoom = () => {}) => budget.open(onRoom);
    /** An account that claims as much as it can get, a MiB at a time. */
    const greedy = () => {
      const account = open();
      account.hold(OWN_BYTES);
      while (account.claim(MIB));
      return account;
    };
    return { budget, open, greedy, pass: (milliseconds: number) => (now += milliseconds) };
  }

  test('leaves every account its own memory, whatever the others hold', () => {
    const { budget, open } = budgetOf(MIB);
    for (let i = 0; i < 10; i++) expect(open().claim(OWN_BYTES)).toBeDefined();
    expect(budget.use).toEqual({ usedBytes: 0, limitBytes: MIB, waitingConnections: 0 });
  });

  test('is one for all threads, and a thread that waits notices what another gives back', async () => {
    const parts = partsOf(2);
    const [here, there] = [0, 1].map((index) => new MemoryBudget(10 * MIB, undefined, { ...parts, index }));
    const held = here!.open(() => {}).claim(OWN_BYTES + 9 * MIB)!;
    let room = false;
    const waiting = there!.open(() => {
      room = true;
    });
    expect(waiting.claim(OWN_BYTES + 2 * MIB)).toBeUndefined();
    expect(here!.use).toEqual({ usedBytes: 9 * MIB, limitBytes: 10 * MIB, waitingConnections: 1 });
    held.release();
    await expect.poll(() => room).toBe(true);
    expect(waiting.claim(OWN_BYTES + 2 * MIB)).toBeDefined();
    expect(there!.use).toEqual({ usedBytes: 2 * MIB, limitBytes: 10 * MIB, waitingConnections: 0 });
  });

  test('lets the account go first that has waited for longest without any, whatever thread it is in', async () => {
    let now = 1;
    const parts = partsOf(2);
    const [here, there] = [0, 1].map((index) => new MemoryBudget(10 * MIB, () => now, { ...parts, index }));
    const open = (budget: MemoryBudget) => budget.open(() => {});
    const claim = open(there!).claim(OWN_BYTES + 9 * MIB)!;
    const [first, second] = [open(here!), open(there!)];
    expect(first.claim(OWN_BYTES + 8 * MIB)).toBeUndefined();
    claim.release();
    expect(second.claim(OWN_BYTES + 9 * MIB)).toBeUndefined();
    now = 2;
    expect(open(there!).claim(OWN_BYTES + MIB)).toBeUndefined();
    expect(first.claim(OWN_BYTES + 8 * MIB)).toBeDefined();
    expect(second.claim(OWN_BYTES + 2 * MIB)).toBeDefined();

    // After a while, others may overtake it.
    const third = open(here!);
    expect(third.claim(OWN_BYTES + 5 * MIB)).toBeUndefined();
    first.close();
    expect(open(there!).claim(OWN_BYTES + MIB)).toBeUndefined();
    now += 5_000;
    expect(open(there!).claim(OWN_BYTES + MIB)).toBeDefined();
  });

  test('gives half to an account that takes all it can, and half of the rest to each newcomer', () => {
    const { budget, greedy } = budgetOf();
    const parts = [greedy(), greedy(), greedy()].map(({ sharedBytes }) => sharedBytes / MIB);
    expect(parts).toEqual([60, 30, 15]);
    expect(budget.use.usedBytes).toBe(105 * MIB);
  });

  test('lets an account that holds nothing take everything that is free', () => {
    const { open, greedy } = budgetOf();
    greedy();
    const account = open();
    expect(account.claim(OWN_BYTES + 60 * MIB)).toBeDefined();
    expect(open().claim(OWN_BYTES + 1)).toBeUndefined();
  });

  test('wakes a waiting account when there is room, and not before', async () => {
    const { budget, open } = budgetOf();
    const first = open();
    const claim = first.claim(OWN_BYTES + 100 * MIB)!;
    let woken = 0;
    const second = open(() => {
      woken++;
      second.claim(OWN_BYTES + 50 * MIB);
    });
    expect(second.claim(OWN_BYTES + 50 * MIB)).toBeUndefined();
    claim.resize(OWN_BYTES + 80 * MIB);
    await settle();
    expect([woken, budget.use.waitingConnections]).toEqual([0, 1]);
    claim.release();
    await settle();
    expect([woken, second.sharedBytes, budget.use]).toEqual([
      1,
      50 * MIB,
      { usedBytes: 50 * MIB, limitBytes: LIMIT, waitingConnections: 0 },
    ]);
  });

  test('serves two waiting accounts one after the other', async () => {
    const { budget, open } = budgetOf();
    const first = open();
    first.claim(OWN_BYTES + LIMIT);
    const order: number[] = [];
    [1, 2].forEach((number) => {
      const account = open(() => {
        if (account.claim(OWN_BYTES + 80 * MIB)) order.push(number);
        setImmediate(() => account.close());
      });
      expect(account.claim(OWN_BYTES + 80 * MIB)).toBeUndefined();
    });
    first.close();
    await expect.poll(() => budget.use).toMatchObject({ usedBytes: 0, waitingConnections: 0 });
    expect(order).toEqual([1, 2]);
  });

  test('lets no account overtake one that holds nothing, for a while', () => {
    const { open, pass } = budgetOf();
    open().claim(OWN_BYTES + 100 * MIB);
    expect(open().claim(OWN_BYTES + 64 * MIB)).toBeUndefined();
    expect(open().claim(OWN_BYTES + MIB)).toBeUndefined();
    pass(5000);
    expect(open().claim(OWN_BYTES + MIB)).toBeDefined();
  });

  test('gets everything back from a closed account, and counts nothing that it gives back later', () => {
    const { budget, open } = budgetOf();
    const account = open();
    const claim = account.claim(OWN_BYTES + MIB)!;
    account.close();
    claim.release();
    expect([budget.use.usedBytes, account.heldBytes]).toEqual([0, 0]);
  });

  test('counts a claim that is released twice once', () => {
    const { budget, open } = budgetOf();
    const account = open();
    const [first, second] = [account.claim(OWN_BYTES + MIB)!, account.claim(MIB)!];
    first.release();
    first.release();
    expect([first.bytes, account.heldBytes, second.bytes]).toEqual([0, MIB, MIB]);
    second.release();
    expect([account.heldBytes, budget.use.usedBytes]).toEqual([0, 0]);
  });

  test('lets a claim grow entirely or not at all', () => {
    const { budget, open } = budgetOf(4 * MIB);
    const account = open();
    const claim = account.claim(OWN_BYTES)!;
    expect([claim.grow(OWN_BYTES + 5 * MIB), claim.bytes, account.waiting]).toEqual([false, OWN_BYTES, true]);
    expect([claim.grow(OWN_BYTES + 4 * MIB), budget.use.usedBytes, account.waiting]).toEqual([true, 4 * MIB, false]);
  });

  test('counts what is in use already, even beyond its limit', () => {
    const { budget, open } = budgetOf(MIB);
    const held = open().hold(OWN_BYTES + 3 * MIB);
    expect([budget.use.usedBytes, open().claim(OWN_BYTES + 1)]).toEqual([3 * MIB, undefined]);
    held.release();
    expect(budget.use.usedBytes).toBe(0);
  });
});

describe('clients that share a memory budget', () => {
  const BUDGET = 8 * MIB;
  const DISK = 64 * MIB;

  async function serve() {
    const device = new FaultyDevice(new MemoryDevice(DISK));
    const server = await startMemoryServer([{ name: 'disk', device }, { name: 'other' }], {
      memoryBudgetBytes: BUDGET,
    });
    const connect = async (name = 'disk') => {
      const client = await server.connect();
      await client.go(name, { structured: false });
      return client;
    };
    return { server, device, connect };
  }

  test('stay within it while they write to a disk that hangs, and get their answers when the disk recovers', async () => {
    const { server, device, connect } = await serve();
    const clients = [];
    for (let i = 0; i < 6; i++) clients.push(await connect());
    device.hold();
    const writes = Buffer.concat(
      Array.from({ length: 16 }, (_, i) =>
        encodeRequest({ command: Command.WRITE, offset: i * MIB, payload: Buffer.alloc(MIB, i) }),
      ),
    );
    for (const client of clients) client.send(writes);
    await expect.poll(() => server.listener.memory.waitingConnections).toBe(6);
    expect(server.listener.memory.usedBytes).toBeLessThanOrEqual(BUDGET);
    expect(device.heldCalls).toBeLessThanOrEqual(6 * 2 + BUDGET / MIB);
    device.release();
    for (const client of clients) {
      for (let i = 0; i < 16; i++) expect((await client.simpleReply()).error).toBe(0);
    }
    await expect.poll(() => server.listener.memory).toMatchObject({ usedBytes: 0, waitingConnections: 0 });
  });

  test('do not keep each other from requests of 1 MiB, and a client that leaves makes room', async () => {
    const { server, device, connect } = await serve();
    const greedy = [];
    for (let i = 0; i < 8; i++) greedy.push(await connect());
    device.hold();
    for (const client of greedy) {
      const reads = Array.from({ length: 20 }, () => encodeRequest({ command: Command.READ, length: MIB }));
      client.send(Buffer.concat(reads));
    }
    await expect.poll(() => server.listener.memory.waitingConnections).toBe(8);
    const neighbour = await connect('other');
    neighbour.request({ command: Command.WRITE, payload: Buffer.alloc(MIB, 7) });
    expect((await neighbour.simpleReply()).error).toBe(0);
    neighbour.request({ command: Command.READ, offset: MIB - 1, length: 1 });
    expect((await neighbour.simpleReply(1)).data[0]).toBe(7);
    for (const client of greedy) client.close();
    device.release();
    await expect.poll(() => server.listener.memory).toMatchObject({ usedBytes: 0, waitingConnections: 0 });
  });

  test.each([false, true])(
    'wait for room for a large write, which is then taken whole (slow disk: %s)',
    async (slow) => {
      const { server, device, connect } = await serve();
      const reader = await connect();
      device.hold();
      for (let i = 0; i < 12; i++) reader.request({ command: Command.READ, length: MIB });
      await expect.poll(() => server.listener.memory.waitingConnections).toBe(1);
      const writer = await connect();
      const payload = Buffer.from(Uint8Array.from({ length: 7 * MIB }, (_, i) => i % 251));
      writer.send(
        Buffer.concat([
          encodeRequest({ command: Command.WRITE, offset: MIB, payload }),
          encodeRequest({ command: Command.WRITE, offset: 9 * MIB, payload }),
          encodeRequest({ command: Command.READ, offset: 0, length: 512 }),
        ]),
      );
      await expect.poll(() => server.listener.memory.waitingConnections).toBe(2);
      expect(server.exports.get('disk').counters().bytesWritten).toBe(0);
      device.deferAll(slow);
      device.release();
      for (let i = 0; i < 2; i++) expect((await writer.simpleReply()).error).toBe(0);
      await writer.simpleReply(512);
      for (let i = 0; i < 12; i++) await reader.simpleReply(MIB);
      for (const offset of [MIB, 9 * MIB]) {
        writer.request({ command: Command.READ, offset, length: 7 * MIB });
        expect((await writer.simpleReply(7 * MIB)).data.equals(payload)).toBe(true);
      }
      await expect.poll(() => server.listener.memory).toMatchObject({ usedBytes: 0, waitingConnections: 0 });
    },
  );

  test('can write large pieces to a slow disk at the same time, and none waits forever', async () => {
    const { server, device, connect } = await serve();
    device.deferAll(true);
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect()));
    const writes = clients.map(async (client, at) => {
      const payload = Buffer.alloc(6 * MIB, at + 1);
      for (let i = 0; i < 4; i++) client.request({ command: Command.WRITE, offset: at * 6 * MIB, payload });
      for (let i = 0; i < 4; i++) expect((await client.simpleReply()).error).toBe(0);
      client.request({ command: Command.READ, offset: at * 6 * MIB, length: 6 * MIB });
      expect((await client.simpleReply(6 * MIB)).data.equals(payload)).toBe(true);
    });
    await Promise.all(writes);
    await expect.poll(() => server.listener.memory).toMatchObject({ usedBytes: 0, waitingConnections: 0 });
  });

  test('hold little memory when they read no replies, even when the replies are small', async () => {
    const { server, connect } = await serve();
    const clients = [];
    for (let i = 0; i < 4; i++) clients.push(await connect());
    for (const client of clients) {
      client.pause();
      for (let i = 0; i < 40; i++) client.request({ command: Command.READ, length: 512 * KIB });
    }
    await expect.poll(() => server.exports.get('disk').counters().requests).toBeGreaterThan(8);
    expect(server.listener.memory.usedBytes).toBeLessThanOrEqual(4 * 2 * MIB);
    for (const client of clients) {
      client.resume();
      for (let i = 0; i < 40; i++) expect((await client.simpleReply(512 * KIB)).error).toBe(0);
    }
    await expect.poll(() => server.listener.memory.usedBytes).toBe(0);
  });
});
