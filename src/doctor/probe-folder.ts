import type { FileHandle } from 'node:fs/promises';
import { EOPNOTSUPP } from '../base/errno.js';
import { type CallResult, type Posix, PUNCH_HOLE, SEEK_HOLE, ZERO_RANGE } from '../posix/posix-calls.js';
import { openUnnamedFile } from '../storage/image/unnamed-file.js';
import { type Finding, fatal, missing, ok } from './finding.js';

const BLOCK_BYTES = 65_536;
const FILE_BYTES = 4 * BLOCK_BYTES;
const LOCK_BYTE = 100;

/** What the file system of a folder does for images in it, tried on files that nobody sees. */
export async function probeFolder(folder: string, posix: Posix | undefined): Promise<Finding[]> {
  const files: FileHandle[] = [];
  try {
    for (const content of [Buffer.alloc(FILE_BYTES, 1), Buffer.alloc(0)]) {
      const file = await openUnnamedFile(folder);
      files.push(file);
      await file.writeFile(content);
    }
    const [image, empty] = [files[0]!.fd, files[1]!.fd];
    return [ok('folder', `${folder} can be written`), ...(posix ? await tryCalls(posix, image, empty) : [])];
  } catch (error) {
    return [fatal('folder', `no files can be made: ${(error as Error).message}; name another folder`)];
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
      'images are locked as QEMU locks them',
      'images are not locked',
    ),
    // Before there are holes, which not every file system clones.
    judge('clone', await posix.clone(empty, image), 'views are clones', 'views copy old data before it is overwritten'),
    judge(
      'zero range',
      await posix.fallocate(image, ZERO_RANGE, BLOCK_BYTES, BLOCK_BYTES),
      'zeroes take no writing',
      'zeroes are written, or punched',
    ),
    judge(
      'punch hole',
      await posix.fallocate(image, PUNCH_HOLE, 2 * BLOCK_BYTES, BLOCK_BYTES),
      'discarded space is given back',
      'discarded space stays allocated',
    ),
  ];
  const hole = posix.seekNow(image, 0, SEEK_HOLE);
  const seesHoles = hole >= 0 && hole < FILE_BYTES;
  return [
    ...findings,
    seesHoles ? ok('holes', 'clients see what is allocated') : missing('holes', 'all of an image counts as data'),
  ];
}

function reads(result: CallResult): Finding {
  if (result >= 0) return ok('cached reads', 'are told from those that wait (RWF_NOWAIT)');
  if (result === -EOPNOTSUPP)
    return missing('cached reads', 'are not told from others (no RWF_NOWAIT): slower, unless in memory');
  return missing('cached reads', `failed with error ${-result}`);
}

function judge(subject: string, result: CallResult, good: string, bad: string): Finding {
  return result >= 0 ? ok(subject, good) : missing(subject, bad);
}
