import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, ftruncateSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import * as koffi from 'koffi';
import { describe, expect, it, onTestFinished } from 'vitest';
import { BugError } from '../../src/base/assert.js';
import { EAGAIN, EINVAL, ENXIO, EOPNOTSUPP } from '../../src/base/errno.js';
import { GIB, KIB, MIB } from '../../src/base/units.js';
import { nodePosix } from '../../src/posix/node-posix.js';
import { bindPosix, loadPosix } from '../../src/posix/posix.js';
import { PUNCH_HOLE, SEEK_DATA, SEEK_END, SEEK_HOLE, ZERO_RANGE } from '../../src/posix/posix-calls.js';
import { type places, scratchFolder } from '../support/scratch-folder.js';

const { EBADF } = constants.errno;
const posix = loadPosix()!;

function openScratch(place: keyof typeof places, content: Buffer | string, flags = 'r+'): { fd: number; path: string } {
  const path = join(scratchFolder(place), 'image');
  writeFileSync(path, content);
  const fd = openSync(path, flags);
  onTestFinished(() => closeSync(fd));
  return { fd, path };
}

describe('reads of the page cache', () => {
  it('put cached data at the right place in a slice of a larger buffer', () => {
    const { fd } = openScratch('disk', 'abcdefgh');
    const pool = Buffer.alloc(64, '.');
    const slice = pool.subarray(16, 32);
    expect(posix.readCachedNow(fd, slice, 2, 3, 4)).toBe(3);
    expect(posix.readCachedNow(fd, slice, 6, 2, 0)).toBe(2);
    expect(pool.toString()).toBe(`${'.'.repeat(18)}efg.ab${'.'.repeat(40)}`);
  });

  it('distinguish two slices of the same buffer', () => {
    const { fd } = openScratch('disk', 'abcdefgh');
    const pool = Buffer.alloc(8, '.');
    const left = pool.subarray(0, 4);
    const right = pool.subarray(4);
    posix.readCachedNow(fd, left, 0, 1, 0);
    posix.readCachedNow(fd, right, 0, 1, 1);
    posix.readCachedNow(fd, left, 1, 1, 2);
    expect(pool.toString()).toBe('ac..b...');
  });

  it('return EAGAIN if the data is only on the disk', () => {
    const { fd, path } = openScratch('disk', Buffer.alloc(MIB, 'x'));
    execFileSync('dd', [`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none']);
    expect(posix.readCachedNow(fd, Buffer.alloc(4096), 0, 4096, 0)).toBe(-EAGAIN);
  });

  it('return EOPNOTSUPP on tmpfs', () => {
    const { fd } = openScratch('tmpfs', 'abc');
    expect(posix.readCachedNow(fd, Buffer.alloc(3), 0, 3, 0)).toBe(-EOPNOTSUPP);
  });
});

describe.each(['readCachedNow', 'readNow', 'writeNow'] as const)('%s', (call) => {
  it('never touch memory outside the buffer', () => {
    const { fd } = openScratch('disk', Buffer.alloc(4096));
    const buffer = Buffer.alloc(512);
    expect(() => posix[call](fd, buffer, 1, 512, 0)).toThrow(BugError);
    expect(() => posix[call](fd, buffer, -1, 10, 0)).toThrow(BugError);
    expect(() => posix[call](fd, buffer, 0, -1, 0)).toThrow(BugError);
  });

  it('reject a buffer whose memory was transferred', () => {
    const { fd } = openScratch('disk', Buffer.alloc(4096));
    const memory = new ArrayBuffer(4096);
    const buffer = Buffer.from(memory);
    expect(posix[call](fd, buffer, 0, 512, 0)).toBe(512);
    structuredClone(memory, { transfer: [memory] });
    expect(() => posix[call](fd, buffer, 0, 512, 0)).toThrow(BugError);
  });

  it('return the error number of a failure', () => {
    expect(posix[call](-1, Buffer.alloc(1), 0, 1, 0)).toBe(-EBADF);
  });
});

describe('transfers on the event loop', () => {
  it('write and read back far beyond 4 GiB', () => {
    const { fd } = openScratch('disk', '');
    ftruncateSync(fd, 6 * GIB);
    expect(posix.writeNow(fd, Buffer.from('there'), 0, 5, 5 * GIB)).toBe(5);
    const target = Buffer.alloc(7);
    expect(posix.readNow(fd, target, 0, 7, 5 * GIB - 1)).toBe(7);
    expect(target.toString()).toBe('\0there\0');
    expect(posix.seekNow(fd, 0, SEEK_DATA)).toBe(5 * GIB);
  });
});

describe('calls in the thread pool', () => {
  it('each return their own error number, even when hundreds run at once', async () => {
    const writable = openScratch('disk', Buffer.alloc(MIB, 'x'));
    const readable = openScratch('disk', Buffer.alloc(MIB), 'r');
    const memory = openScratch('tmpfs', Buffer.alloc(MIB));
    const kinds = [
      { call: () => posix.fallocate(writable.fd, PUNCH_HOLE, 0, 4096), result: 0 },
      { call: () => posix.fallocate(readable.fd, PUNCH_HOLE, 0, 4096), result: -EBADF },
      { call: () => posix.fallocate(memory.fd, ZERO_RANGE, 0, 4096), result: -EOPNOTSUPP },
      { call: () => posix.fallocate(writable.fd, PUNCH_HOLE, 0, 0), result: -EINVAL },
      { call: () => posix.seek(writable.fd, 8192, SEEK_DATA), result: 8192 },
      { call: () => posix.seek(writable.fd, MIB, SEEK_HOLE), result: -ENXIO },
      { call: () => posix.willNeed(writable.fd, 0, MIB), result: 0 },
      { call: () => posix.willNeed(-1, 0, MIB), result: -EBADF },
      { call: () => posix.awaitWriteback(writable.fd), result: 0 },
      { call: () => posix.awaitWriteback(-1), result: -EBADF },
      { call: () => posix.clone(memory.fd, memory.fd), result: -EOPNOTSUPP },
      { call: () => posix.clone(memory.fd, -1), result: -EBADF },
    ];
    const many = Array.from({ length: 800 }, (_, index) => kinds[index % kinds.length]!);
    const results = await Promise.all(many.map(({ call }) => call()));
    expect(results).toEqual(many.map(({ result }) => result));
  });
});

describe('byte locks', () => {
  it('are seen by another descriptor of the same process, and end when their descriptor is closed', () => {
    const { fd, path } = openScratch('disk', 'abc');
    const other = openSync(path, 'r');
    expect(posix.lockByteNow(other, 100)).toBe(0);
    expect(posix.byteLockedNow(fd, 100)).toBe(1);
    expect(posix.byteLockedNow(fd, 101)).toBe(0);
    expect(posix.byteLockedNow(other, 100)).toBe(0);
    closeSync(other);
    expect(posix.byteLockedNow(fd, 100)).toBe(0);
  });
});

describe('shared memory', () => {
  it('is the content of its file, in both directions', () => {
    const { fd, path } = openScratch('disk', 'abcdefgh');
    const { memory, unmap } = posix.mapSharedNow(fd, 8)!;
    const bytes = new Uint8Array(memory);
    expect(Buffer.from(bytes).toString()).toBe('abcdefgh');
    bytes[0] = 0x41;
    expect(readFileSync(path, 'utf8')).toBe('Abcdefgh');
    unmap();
  });

  it('is refused where there is no file', () => {
    expect(posix.mapSharedNow(-1, 8)).toBeUndefined();
    expect(nodePosix.mapSharedNow(-1, 8)).toBeUndefined();
  });
});

describe('a C library that lacks a function', () => {
  it('leaves that call to Node and provides the others', () => {
    const library = koffi.load(null);
    const partial = bindPosix(koffi, (name, result, parameters) =>
      ['preadv2', 'fallocate'].includes(name) ? undefined : library.func(name, result, parameters),
    );
    expect(partial.readCachedNow).toBe(nodePosix.readCachedNow);
    expect(partial.fallocate).toBe(nodePosix.fallocate);
    const { fd } = openScratch('disk', 'abc');
    expect(partial.seekNow(fd, 0, SEEK_END)).toBe(3);
  });
});

it('a larger send buffer lets a unix socket hold more for a peer that does not read', async () => {
  const held = async (bytes: number) => {
    const path = join(scratchFolder(), 'socket');
    const server = createServer({ pauseOnConnect: true }).listen(path);
    const client = connect(path);
    onTestFinished(() => void [client.destroy(), server.close()]);
    await once(client, 'connect');
    const { _handle: handle } = client as unknown as { _handle: { fd: number } };
    expect(posix.setSendBufferNow(handle.fd, bytes)).toBe(0);
    for (;;) {
      client.write(Buffer.alloc(4096));
      if (client.writableLength > 0) return client.bytesWritten - client.writableLength;
    }
  };
  expect(await held(128 * KIB)).toBeGreaterThan(2 * (await held(32 * KIB)));
  expect(posix.setSendBufferNow(-1, MIB)).toBe(-EBADF);
});

it('calls on a duplicated socket wait, for a limited time', async () => {
  const path = join(scratchFolder(), 'socket');
  const server = createServer((peer) => void peer.write('hello')).listen(path);
  const client = connect(path).pause();
  onTestFinished(() => void [client.destroy(), server.close()]);
  await once(client, 'connect');
  const { _handle: handle } = client as unknown as { _handle: { fd: number } };
  const fd = posix.duplicateWaitingNow(handle.fd, 50);
  onTestFinished(() => closeSync(fd));
  client.destroy();
  await once(client, 'close');
  const target = Buffer.alloc(5);
  await expect.poll(() => readSync(fd, target, 0, 5, null)).toBe(5);
  expect(target.toString()).toBe('hello');
  const started = performance.now();
  expect(() => readSync(fd, target, 0, 5, null)).toThrow(expect.objectContaining({ code: 'EAGAIN' }));
  expect(performance.now() - started).toBeGreaterThan(40);
  expect(posix.duplicateWaitingNow(-1, 50)).toBe(-EBADF);
});
