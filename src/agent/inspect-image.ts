import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { isMissing } from '../base/errno.js';
import { MIB } from '../base/units.js';
import { checkImage } from '../qcow2/check-image.js';
import { Qcow2Image } from '../qcow2/image.js';
import { Qcow2Error } from '../qcow2/image-file.js';
import { isSystemError } from './agent-error.js';
import { imageName } from './export-folder.js';
import { readChecksum } from './image-checksum.js';
import type { ImageEntry } from './manifest-format.js';

const QEMU_IMG = 'qemu-img';
const MAX_OUTPUT_BYTES = 64 * MIB;

/** Says what is wrong with the image at `path`, regardless of the images below it; undefined if it is good. */
export async function findDamage(path: string, image: ImageEntry, signal: AbortSignal): Promise<string | undefined> {
  return await problemOf(async () => {
    const checksum = async () => findOtherChecksum(await readChecksum(path, image.fileBytes, signal), image);
    return (await findOtherFile(path, image)) ?? (await checksum()) ?? (await findBadTables(path, image, signal));
  });
}

/** The same, but without reading the data of the image, so without its checksum. */
export async function findDamageWithoutData(
  path: string,
  image: ImageEntry,
  signal: AbortSignal,
): Promise<string | undefined> {
  return await problemOf(async () => (await findOtherFile(path, image)) ?? (await findBadTables(path, image, signal)));
}

/** Says what is wrong if an image has this checksum. */
export function findOtherChecksum(checksum: string, image: Pick<ImageEntry, 'checksum'>): string | undefined {
  return checksum === image.checksum ? undefined : `the file has the checksum ${checksum} instead of ${image.checksum}`;
}

async function problemOf(look: () => Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof Qcow2Error) return error.problem;
    if (isSystemError(error)) return isMissing(error) ? 'the file is missing' : `the file: ${error.message}`;
    throw error;
  }
}

async function findOtherFile(path: string, image: ImageEntry): Promise<string | undefined> {
  // The file is as it was written. Only the pull could see that it differs from the disk.
  if (image.damage?.foundBy === 'prove') return image.damage.problem;
  const found = await stat(path);
  if (!found.isFile()) return 'it is not a regular file';
  const { size } = found;
  return size === image.fileBytes ? undefined : `the file has ${size} bytes instead of ${image.fileBytes}`;
}

async function findBadTables(path: string, image: ImageEntry, signal: AbortSignal): Promise<string | undefined> {
  await checkImage(path, signal);
  return await findDisagreement(path, image);
}

/** Says where the image and its manifest entry disagree. */
async function findDisagreement(path: string, entry: ImageEntry): Promise<string | undefined> {
  await using image = await Qcow2Image.open(path);
  const expected = entry.base === null ? undefined : imageName(entry.base);
  if (image.backingName !== expected) {
    return `it lies on ${image.backingName ?? 'nothing'} instead of ${expected ?? 'nothing'}`;
  }
  return image.sizeBytes === entry.sizeBytes ? undefined : `its disk has ${image.sizeBytes} bytes`;
}

/** Runs `qemu-img check` on one image. Undefined if it finds nothing, 'missing' if qemu-img is not installed. */
export function checkByQemu(
  path: string,
  signal: AbortSignal,
): Promise<{ readonly problem: string } | 'missing' | undefined> {
  // An absolute path, because QEMU takes text before a colon for a protocol.
  const args = ['check', '-f', 'qcow2', resolve(path)];
  return new Promise((done, reject) => {
    execFile(QEMU_IMG, args, { maxBuffer: MAX_OUTPUT_BYTES, signal }, (error, stdout, stderr) => {
      if (!error) return done(undefined);
      if (signal.aborted) return reject(signal.reason);
      if (isMissing(error)) return done('missing');
      const line = (stderr.trim() || stdout.trim()).split('\n')[0];
      done({ problem: `qemu-img check: ${line}` });
    });
  });
}
