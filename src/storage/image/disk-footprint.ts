import { constants } from 'node:fs';
import { open, readdir, readlink, stat } from 'node:fs/promises';
import { diskId } from '../../base/disk-id.js';
import type { Posix } from '../../posix/posix-calls.js';
import { packDevice, readAttribute, sysfsFolder } from './sysfs.js';

/** The `diskId` numbers through which the bytes of a disk can be reached. */
export interface DiskFootprint {
  /** The disk itself, and the file or device that backs it if it is a loop device. */
  readonly same: readonly string[];
  /** What it is part of or made of: the disk of a partition, the devices under a device mapper or RAID device. */
  readonly within: readonly string[];
}

/** Undefined if nothing is at the path or it is not accessible. */
export async function footprintOf(path: string, posix: Posix): Promise<DiskFootprint | undefined> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  if (!stats) return undefined;
  return stats.isBlockDevice() ? footprintOfDevice(stats.rdev, posix) : { same: [diskId(stats)], within: [] };
}

async function footprintOfDevice(device: bigint, posix: Posix): Promise<DiskFootprint> {
  const folder = sysfsFolder(device);
  const shown = await shownByLoop(folder, posix);
  const below = await Promise.all((await devicesBelow(folder)).map((one) => footprintOfDevice(one, posix)));
  return {
    same: [`${device}`, ...(shown?.same ?? [])],
    within: [...(shown?.within ?? []), ...below.flatMap(({ same, within }) => [...same, ...within])],
  };
}

/** The disk of a partition, or the devices that make up a device mapper or RAID device. */
async function devicesBelow(folder: string): Promise<bigint[]> {
  const isPartition = (await readAttribute(`${folder}/partition`)) !== undefined;
  const slaves = await readdir(`${folder}/slaves`).catch(() => []);
  const folders = isPartition ? [`${folder}/..`] : slaves.map((name) => `${folder}/slaves/${name}`);
  const numbers = await Promise.all(folders.map((one) => readAttribute(`${one}/dev`)));
  return numbers.flatMap((number) => (number === undefined ? [] : packDevice(number)));
}

/** What backs a loop device. Asks the kernel for device and inode, because the path may name another file by now. */
async function shownByLoop(folder: string, posix: Posix): Promise<DiskFootprint | undefined> {
  const path = await readAttribute(`${folder}/loop/backing_file`);
  if (path === undefined) return undefined;
  const name = (await readlink(folder).catch(() => '')).split('/').at(-1);
  const handle = await open(`/dev/${name}`, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined);
  const target = handle && posix.loopTargetNow(handle.fd);
  await handle?.close();
  if (!target) return footprintOf(path, posix);
  const { device, inode, shownDevice } = target;
  return shownDevice === 0n ? { same: [`${device}:${inode}`], within: [] } : footprintOfDevice(shownDevice, posix);
}
