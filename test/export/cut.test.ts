import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { ENOSPC, OK } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import { KIB, MIB } from '../../src/base/units.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import { PersistentBitmaps } from '../../src/bitmap/store/persistent-bitmaps.js';
import { changeAtOneInstant, type ExportHeldBack, HELD_BACK_CHANNEL } from '../../src/export/cut.js';
import { Export } from '../../src/export/export.js';
import { put } from '../support/device-content.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { idleClient } from '../support/idle-client.js';
import { MemoryDevice } from '../support/memory-device.js';
import { MemoryStore } from '../support/memory-store.js';

const record = { key: ['backup', 'one'], value: Buffer.from('new'), before: undefined };

interface Tested {
  readonly served: Export;
  readonly disk: FaultyDevice;
  readonly bitmaps: BitmapSet;
}

/** An export with an empty bitmap "a"; with a store, the bitmap is kept there. */
async function exported(name: string, store?: MemoryStore, cutTimeoutSeconds = 60): Promise<Tested> {
  const disk = new FaultyDevice(new MemoryDevice(MIB));
  const bitmaps = new BitmapSet(MIB);
  const persistence =
    store &&
    (await PersistentBitmaps.open({
      ...{ exportName: name, bitmaps, store, readOnly: false, log: silentLog, onBitmapError: 'refuse' },
      identify: async () => ({ kind: 'file', id: name, sizeBytes: MIB }),
      limits: { regionBytes: 64 * KIB, maxActiveRegions: 100, coolAfterTicks: 0 },
    }));
  const parts = { name, description: '', path: 'memory', readOnly: false, disk, bitmaps, persistence };
  const served = new Export({ ...parts, cutTimeoutSeconds });
  const add = { name: 'a', persistent: persistence !== undefined };
  await changeAtOneInstant([served], { apply: (undos) => void undos.push(bitmaps.add(add)) });
  disk.calls.splice(0);
  return { served, disk, bitmaps };
}

const write = ({ served }: Tested) => put(served.device, 0, Buffer.alloc(512, 1));
const dirtyBytes = ({ bitmaps }: Tested) => bitmaps.get('a').dirtyBytes;

/** A promise and what settles it. */
function pause() {
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { ended, end };
}

describe('a change at one instant', () => {
  test('returns what it makes, and how long writes were held back', async () => {
    const one = await exported('one');
    const writes: Promise<void>[] = [];
    const { made, held } = await changeAtOneInstant([one.served], {
      apply: (undos, instant) => {
        writes.push(write(one), write(one));
        undos.push(instant.get(one.served).bitmaps.get('a').clear());
        return 'made';
      },
    });
    await Promise.all(writes);
    expect([made, held.count]).toEqual(['made', 2]);
  });

  test('comes entirely before or entirely after each write to its exports', async () => {
    const both = [await exported('one'), await exported('two')];
    for (const one of both) one.disk.hold();
    const before = both.map(write);
    await vi.waitUntil(() => both.every(({ disk }) => disk.heldCalls === 1));
    const dirtyAtInstant: number[] = [];
    let after: Promise<void>[] = [];
    const changed = changeAtOneInstant(
      both.map(({ served }) => served),
      {
        flush: 'nothing',
        apply: (undos) => {
          after = both.map(write);
          for (const one of both) {
            dirtyAtInstant.push(dirtyBytes(one));
            undos.push(one.bitmaps.get('a').clear());
          }
        },
      },
    );
    for (const { disk } of both) disk.release();
    await Promise.all([...before, changed]);
    expect(dirtyAtInstant).toEqual([64 * KIB, 64 * KIB]);
    await Promise.all(after);
    expect(both.map(dirtyBytes)).toEqual([64 * KIB, 64 * KIB]);
  });

  test('may wait for a disk; writes wait too', async () => {
    const one = await exported('one');
    const { ended, end } = pause();
    let written = false;
    const changed = changeAtOneInstant([one.served], {
      apply: async (_undos, { patience }) => {
        void write(one).then(() => {
          written = true;
        });
        await patience.waitFor(one.served, ended);
        return written;
      },
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    end();
    expect((await changed).made).toBe(false);
    await vi.waitUntil(() => written);
  });

  test('reports how long the writes to each export waited', async () => {
    const both = [await exported('one'), await exported('two')];
    const told: ExportHeldBack[] = [];
    const note = (message: unknown) => void told.push(message as ExportHeldBack);
    subscribe(HELD_BACK_CHANNEL, note);
    onTestFinished(() => void unsubscribe(HELD_BACK_CHANNEL, note));
    const late: Promise<void>[] = [];
    await changeAtOneInstant(
      both.map(({ served }) => served),
      { apply: () => void late.push(write(both[0]!)) },
    );
    await Promise.all(late);
    const mine = told.filter(({ served }) => both.some((one) => one.served === served));
    expect(mine.map(({ served, milliseconds }) => [served.name, milliseconds.length])).toEqual([
      ['one', 1],
      ['two', 0],
    ]);
  });

  test('does not wait for another one that names the same exports in another order', async () => {
    const [one, two] = [await exported('one'), await exported('two')];
    const change = { apply: () => 'made' };
    const changes = [
      changeAtOneInstant([one.served, two.served], change),
      changeAtOneInstant([two.served, one.served, two.served], change),
    ];
    expect((await Promise.all(changes)).map(({ made }) => made)).toEqual(['made', 'made']);
  });
});

describe('before a change, what may become clean is made durable', () => {
  test.each([
    ['everything', ['flush', 'flush']],
    ['written-earlier', ['flush']],
    ['nothing', []],
  ] as const)('%s', async (flush, calls) => {
    const one = await exported('one', new MemoryStore());
    const { made } = await changeAtOneInstant([one.served], { flush, apply: () => [...one.disk.calls] });
    expect(made).toEqual(calls);
  });

  test.each([
    ['everything', ['flush']],
    ['written-earlier', []],
    ['nothing', []],
  ] as const)('also while writes are held back, if everything has to be durable (%s)', async (flush, calls) => {
    const one = await exported('one', new MemoryStore());
    const quiesce = one.served.quiesce.bind(one.served);
    vi.spyOn(one.served, 'quiesce').mockImplementation(() => {
      one.disk.calls.splice(0);
      return quiesce();
    });
    await changeAtOneInstant([one.served], { flush, apply: () => {} });
    expect(one.disk.calls).toEqual(calls);
  });

  test('but not for bitmaps that are only in memory', async () => {
    const one = await exported('one');
    await changeAtOneInstant([one.served], { apply: () => {} });
    expect(one.disk.calls).toEqual([]);
  });

  test('or it is refused', async () => {
    const one = await exported('one', new MemoryStore());
    one.disk.fail('flush', ENOSPC);
    const apply = vi.fn();
    await expect(changeAtOneInstant([one.served], { apply })).rejects.toMatchObject({ code: 'FLUSH_FAILED' });
    expect(apply).not.toHaveBeenCalled();
    await write(one);
  });
});

describe('a change that fails', () => {
  /** Clears "a" and then fails. */
  const failing = (one: Tested, fail: () => unknown) => ({
    apply: (undos: (() => void)[]) => {
      undos.push(one.bitmaps.get('a').clear());
      undos.push(one.bitmaps.get('a').disable());
      return fail();
    },
  });

  test.each([true, false])('is undone, the last step first, when a step throws (with a store: %s)', async (stored) => {
    const one = await exported('one', stored ? new MemoryStore() : undefined);
    await write(one);
    const refuse = () => {
      throw new Error('refused');
    };
    await expect(changeAtOneInstant([one.served], failing(one, refuse))).rejects.toThrow('refused');
    expect(one.bitmaps.get('a')).toMatchObject({ dirtyBytes: 64 * KIB, recording: true });
    await write(one);
  });

  test('is undone, and none of its records stored, when the store fails', async () => {
    const store = new MemoryStore();
    const one = await exported('one', store);
    await write(one);
    const fail = () => {
      store.failWith = ENOSPC;
    };
    const change = { ...failing(one, fail), records: () => [record] };
    await expect(changeAtOneInstant([one.served], change)).rejects.toMatchObject({ code: 'STORE_IN_DOUBT' });
    store.failWith = undefined;
    expect(one.bitmaps.get('a')).toMatchObject({ dirtyBytes: 64 * KIB, recording: true });
    expect(store.get(record.key)).toBeUndefined();
    await write(one);
  });

  test('because it waited too long is undone, and writes continue', async () => {
    const one = await exported('one', new MemoryStore(), 1);
    await write(one);
    const { ended, end } = pause();
    const discarded = vi.fn();
    const changed = changeAtOneInstant([one.served], {
      apply: async (undos, { patience }) => {
        undos.push(one.bitmaps.get('a').clear());
        await patience.waitFor(
          one.served,
          ended.then(() => 'late'),
          discarded,
        );
      },
    });
    await expect(changed).rejects.toMatchObject({ code: 'CUT_TIMED_OUT' });
    expect(dirtyBytes(one)).toBe(64 * KIB);
    await write(one);
    end();
    await vi.waitUntil(() => discarded.mock.calls.length === 1);
    expect(discarded).toHaveBeenCalledWith('late');
  });
});

test('the records of a change are stored together with its bitmaps', async () => {
  const store = new MemoryStore();
  const one = await exported('one', store);
  await write(one);
  const commit = vi.spyOn(store, 'commit');
  await changeAtOneInstant([one.served], {
    apply: (undos) => {
      undos.push(one.bitmaps.get('a').clear());
      return 'made';
    },
    records: (made) => [{ ...record, value: Buffer.from(made) }],
  });
  expect(store.get(record.key)?.toString()).toBe('made');
  const together = commit.mock.calls.filter(([changes]) => changes.some(({ key }) => key === record.key));
  expect(together.map(([changes]) => changes.length > 1)).toEqual([true]);
});

describe('an export that is being closed', () => {
  /** Two exports, of which the first is closing and waits for its client. */
  async function closing() {
    const [one, two] = [await exported('one'), await exported('two')];
    const { ended, end } = pause();
    one.served.attach(idleClient({ drain: () => ended }));
    const closed = one.served.close();
    onTestFinished(async () => {
      end();
      await closed;
    });
    return { one, two, exports: [one.served, two.served] };
  }

  test('is not changed', async () => {
    const { two, exports } = await closing();
    for (const served of exports) Object.assign(served, { cutTimeoutSeconds: 0.2 });
    const apply = vi.fn();
    await expect(changeAtOneInstant(exports, { apply })).rejects.toMatchObject({ code: 'CUT_TIMED_OUT' });
    expect(apply).not.toHaveBeenCalled();
    expect(await two.served.device.flush()).toBe(OK);
  });

  test('is left out of a change that can do without it', async () => {
    const { one, two, exports } = await closing();
    const { made } = await changeAtOneInstant(exports, {
      skipClosed: true,
      apply: (_undos, instant) => [one, two].map(({ served }) => instant.find(served) !== undefined),
    });
    expect(made).toEqual([false, true]);
  });
});
