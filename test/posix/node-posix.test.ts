import { closeSync, openSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { EOPNOTSUPP } from '../../src/base/errno.js';
import { nodePosix } from '../../src/posix/node-posix.js';
import { PUNCH_HOLE, SEEK_HOLE } from '../../src/posix/posix-calls.js';
import { scratchFolder } from '../support/scratch-folder.js';

const { EBADF } = constants.errno;

function openScratch(content: string): number {
  const path = join(scratchFolder(), 'image');
  writeFileSync(path, content);
  const fd = openSync(path, 'r+');
  onTestFinished(() => closeSync(fd));
  return fd;
}

describe("Node's own calls", () => {
  it('read and write at an offset, and return the count', async () => {
    const fd = openScratch('abcdef');
    expect(nodePosix.writeNow(fd, Buffer.from('.XY.'), 1, 2, 2)).toBe(2);
    expect(await nodePosix.write(fd, Buffer.from('Z'), 0, 1, 5)).toBe(1);
    const target = Buffer.alloc(10, '-');
    expect(nodePosix.readNow(fd, target, 1, 9, 0)).toBe(6);
    expect(target.toString()).toBe('-abXYeZ---');
    expect(await nodePosix.read(fd, target, 0, 1, 6)).toBe(0);
    expect(await nodePosix.sync(fd)).toBe(0);
  });

  it('return the error number of a failure', async () => {
    const buffer = Buffer.alloc(1);
    const fd = 1_000_000;
    expect(nodePosix.readNow(fd, buffer, 0, 1, 0)).toBe(-EBADF);
    expect(nodePosix.writeNow(fd, buffer, 0, 1, 0)).toBe(-EBADF);
    expect(await nodePosix.read(fd, buffer, 0, 1, 0)).toBe(-EBADF);
    expect(await nodePosix.write(fd, buffer, 0, 1, 0)).toBe(-EBADF);
    expect(await nodePosix.sync(fd)).toBe(-EBADF);
  });

  it('return EOPNOTSUPP for calls that Node lacks', async () => {
    const fd = openScratch('abcdef');
    expect(nodePosix.readCachedNow(fd, Buffer.alloc(1), 0, 1, 0)).toBe(-EOPNOTSUPP);
    expect(nodePosix.seekNow(fd, 0, SEEK_HOLE)).toBe(-EOPNOTSUPP);
    expect(await nodePosix.seek(fd, 0, SEEK_HOLE)).toBe(-EOPNOTSUPP);
    expect(await nodePosix.fallocate(fd, PUNCH_HOLE, 0, 1)).toBe(-EOPNOTSUPP);
    expect(await nodePosix.clone(fd, fd)).toBe(-EOPNOTSUPP);
    expect(await nodePosix.willNeed(fd, 0, 1)).toBe(-EOPNOTSUPP);
    expect(await nodePosix.awaitWriteback(fd)).toBe(-EOPNOTSUPP);
    expect(nodePosix.duplicateWaitingNow(fd, 100)).toBe(-EOPNOTSUPP);
    expect(nodePosix.lockByteNow(fd, 100)).toBe(-EOPNOTSUPP);
    expect(nodePosix.byteLockedNow(fd, 100)).toBe(-EOPNOTSUPP);
  });
});
