import type { FileHandle } from 'node:fs/promises';
import { EOPNOTSUPP, errnoName } from '../base/errno.js';
import { type CallResult, type Posix, PUNCH_HOLE, SEEK_HOLE, ZERO_RANGE } from '../posix/posix-calls.js';
import { openUnnamedFile } from '../storage/image/unnamed-file.js';
import { type Finding, fatal, missing, ok } from './finding.js';

const BLOCK_BYTES = 65_536;
const FILE_BYTES = 4 * BLOCK_BYTES;
const LOCK_BYTE = 100;

/** Tries what the file system of a folder supports for images, on unnamed files. */
export async function probeFolder(folder: string, posix: Posix | undefined): Promise<Finding[]> {
  const files: FileHandle[] = [];
  try {
    for (const content of [Buffer.alloc(FILE_BYTES, 1), Buffer.alloc(0)]) {
      const file = await openUnnamedFile(folder);
      files.push(file);
      await file.writeFile(content);
    }
    const [image, empty] = [files[0]!.fd, files[1]!.fd];
    return [ok('folder', `${folder} is writable`), ...(posix ? await tryCalls(posix, image, empty) : [])];
  } catch (error) {
    return [fatal('folder', `files cannot be created: ${(error as Error).message}; name another folder`)];
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

async function tryCalls(posix: Posix, image: number, empty: number): Promise<Finding[]> {
  const findings = [
    reads(posix.readCachedNow(image, Buffer.alloc(512), 0, 512, 0)),
    judge(
      'locks',
      posix.lockByteNow(image, LOCK_BYTE),
      'images are locked, compatibly with QEMU',
      'images are not locked',
    ),
    // Tried before the file has holes, because not every file system can clone holes.
    judge('clone', await posix.clone(empty, image), 'views are clones', 'old data is copied before it is overwritten'),
    judge(
      'zero range',
      await posix.fallocate(image, ZERO_RANGE, BLOCK_BYTES, BLOCK_BYTES),
      'ranges are zeroed without writing',
      'ranges are zeroed by punching holes or writing zeroes',
    ),
    judge(
      'punch hole',
      await posix.fallocate(image, PUNCH_HOLE, 2 * BLOCK_BYTES, BLOCK_BYTES),
      'discarded space is freed',
      'discarded space stays allocated',
    ),
  ];
  const hole = posix.seekNow(image, 0, SEEK_HOLE);
  const seesHoles = hole >= 0 && hole < FILE_BYTES;
  return [
    ...findings,
    seesHoles
      ? ok('holes', 'clients see which parts are allocated')
      : missing('holes', 'clients see the whole image as data'),
  ];
}

function reads(result: CallResult): Finding {
  if (result >= 0) return ok('cached reads', 'reads that hit the page cache are answered without waiting (RWF_NOWAIT)');
  if (result === -EOPNOTSUPP)
    return missing(
      'cached reads',
      'reads that hit the page cache use a thread all the same (no RWF_NOWAIT): slower, except in memory',
    );
  return missing('cached reads', `the read failed: ${errnoName(-result)}`);
}

function judge(subject: string, result: CallResult, good: string, bad: string): Finding {
  return result >= 0 ? ok(subject, good) : missing(subject, bad);
}
