import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { assert } from '../../src/base/assert.js';
import { EAGAIN } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import { KIB } from '../../src/base/units.js';
import type { FileDevice } from '../../src/storage/file/file-device.js';
import { openDisk } from '../../src/storage/image/open-disk.js';
import { native, openScratch, writeImage } from '../support/scratch-device.js';

const IMAGE_BYTES = 64 * KIB;
const locked = { code: 'IMAGE_LOCKED', hint: expect.stringContaining('lslocks') };

async function open(path: string, access: 'writable' | 'readonly'): Promise<FileDevice> {
  const device = await openDisk({ path, readOnly: access === 'readonly', posix: native, log: silentLog });
  onTestFinished(() => device.close());
  return device;
}

/** Runs a QEMU tool on the image in another process and returns its message. */
async function qemu(tool: 'qemu-img' | 'qemu-io', ...options: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(tool, options).catch((failure) => failure);
  return stdout + stderr;
}

const qemuCopy = (path: string) => qemu('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', path, `${path}.copy`);
const qemuResize = (path: string) => qemu('qemu-img', 'resize', '-f', 'raw', path, '128K');
const qemuWrite = (path: string) => qemu('qemu-io', '-f', 'raw', '-c', 'write 0 4k', path);
const qemuRead = (path: string) => qemu('qemu-io', '-r', '-f', 'raw', '-c', 'read 0 4k', path);

/** Serves the image with qemu-nbd. Returns a function that kills it and waits until it is gone. */
async function serveByQemu(path: string, ...options: string[]): Promise<() => Promise<void>> {
  const socket = join(dirname(path), 'socket');
  const server = spawn('qemu-nbd', ['--persistent', '-f', 'raw', '-k', socket, ...options, path], { stdio: 'ignore' });
  const gone = once(server, 'exit');
  const kill = async () => {
    server.kill('SIGKILL');
    await gone;
  };
  onTestFinished(kill);
  // qemu-nbd creates the socket before it opens the image, and sends its greeting afterwards.
  while (!(await greets(socket))) {
    assert(server.exitCode === null, 'qemu-nbd runs');
    await sleep(5);
  }
  return kill;
}

async function greets(socket: string): Promise<boolean> {
  const client = connect(socket);
  try {
    await once(client, 'data');
    return true;
  } catch {
    return false;
  } finally {
    client.destroy();
  }
}

describe('an image that is served writable', () => {
  it('is refused by qemu-img and qemu-io', async () => {
    const path = writeImage({ content: IMAGE_BYTES });
    await open(path, 'writable');
    expect(await qemuCopy(path)).toContain('Failed to get');
    expect(await qemuResize(path)).toContain('Failed to get');
    expect(await qemuWrite(path)).toContain('Failed to get');
  });

  it('is refused to a second server, for writing or reading', async () => {
    const path = writeImage({ content: IMAGE_BYTES });
    await open(path, 'writable');
    await expect(open(path, 'writable')).rejects.toMatchObject(locked);
    await expect(open(path, 'readonly')).rejects.toMatchObject(locked);
  });

  it('is free again once it is closed', async () => {
    const path = writeImage({ content: IMAGE_BYTES });
    const device = await open(path, 'writable');
    await device.close();
    expect(await qemuWrite(path)).toContain('wrote 4096/4096');
    await open(path, 'writable');
  });

  it('stays locked after a failed attempt to open it again', async () => {
    const path = writeImage({ content: IMAGE_BYTES });
    await open(path, 'writable');
    await expect(open(path, 'writable')).rejects.toMatchObject(locked);
    expect(await qemuWrite(path)).toContain('Failed to get');
  });
});

describe('an image that is served read-only', () => {
  it('is shared with other readers, both QEMU and tidemark', async () => {
    const path = writeImage({ content: IMAGE_BYTES });
    await open(path, 'readonly');
    await open(path, 'readonly');
    await serveByQemu(path, '--read-only');
    expect(await qemuRead(path)).toContain('read 4096/4096');
  });

  it('is refused to a server for writing', async () => {
    const path = writeImage({ content: IMAGE_BYTES });
    await open(path, 'readonly');
    await expect(open(path, 'writable')).rejects.toMatchObject(locked);
  });

  it('allows a QEMU writer exactly as qemu-nbd --read-only does', async () => {
    const theirs = writeImage({ content: IMAGE_BYTES });
    await serveByQemu(theirs, '--read-only');
    const ours = writeImage({ content: IMAGE_BYTES });
    await open(ours, 'readonly');
    expect(await qemuWrite(theirs)).toContain('wrote 4096/4096');
    expect(await qemuWrite(ours)).toContain('wrote 4096/4096');
    expect(await qemuResize(theirs)).toContain('Failed to get');
    expect(await qemuResize(ours)).toContain('Failed to get');
  });
});

describe('an image that QEMU holds', () => {
  it('is refused while qemu-nbd serves it, and free once that has died', async () => {
    const path = writeImage({ content: IMAGE_BYTES });
    const kill = await serveByQemu(path);
    await expect(open(path, 'writable')).rejects.toMatchObject({ ...locked, message: expect.stringContaining(path) });
    await kill();
    await open(path, 'writable');
  });

  it('is refused to a writer while qemu-nbd reads it', async () => {
    const path = writeImage({ content: IMAGE_BYTES });
    await serveByQemu(path, '--read-only');
    await expect(open(path, 'writable')).rejects.toMatchObject(locked);
    await open(path, 'readonly');
  });
});

describe('without such locks', () => {
  it.each([
    { where: 'without native calls', posix: undefined, errno: 'EOPNOTSUPP' },
    {
      where: 'on a file system that has none',
      posix: { ...native, lockByteNow: () => -constants.errno.ENOLCK },
      errno: 'ENOLCK',
    },
    {
      where: 'on a file system that cannot tell',
      posix: { ...native, byteLockedNow: () => -constants.errno.EINVAL },
      errno: 'EINVAL',
    },
  ])('the image is served and the log warns, $where', async ({ posix, errno }) => {
    const { lines, path } = await openScratch({ content: IMAGE_BYTES, posix });
    expect(lines).toMatchObject([{ level: 'warn', fields: { image: path, errno } }]);
  });
});

describe('a byte that another process locks exclusively', () => {
  it('is refused too', async () => {
    const posix = { ...native, lockByteNow: () => -EAGAIN };
    await expect(openScratch({ content: IMAGE_BYTES, posix })).rejects.toMatchObject(locked);
  });
});
