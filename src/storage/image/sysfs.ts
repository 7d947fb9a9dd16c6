import { readFile } from 'node:fs/promises';

/** What the kernel tells of a block device. Device numbers are packed as glibc's makedev does it. */
export function sysfsFolder(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return `/sys/dev/block/${major}:${minor}`;
}

/** The number of a device, from the way sysfs writes it (`8:1`). */
export function packDevice(text: string): bigint {
  const [major = 0n, minor = 0n] = text.split(':').map(BigInt);
  return ((major & 0xfffn) << 8n) | ((major & ~0xfffn) << 32n) | (minor & 0xffn) | ((minor & ~0xffn) << 12n);
}

/** The text of an attribute; undefined where there is none. */
export async function readAttribute(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.trim() === '' ? undefined : text.trim();
}

export async function readNumber(path: string): Promise<number | undefined> {
  const text = await readAttribute(path);
  return text === undefined ? undefined : Number(text);
}

/** Where a disk says who it is: a device mapper's, one of NVMe or SCSI, one of virtio. */
const SERIALS = ['dm/uuid', 'wwid', 'device/wwid', 'serial', 'device/serial'];

/**
 * What tells a disk from all others, whatever number it has after the next boot: its serial number, or what stands for
 * it, and of a partition its number too. Undefined when the disk in this folder of sysfs does not say.
 */
export async function readSerial(folder: string): Promise<string | undefined> {
  const partition = await readAttribute(`${folder}/partition`);
  const disk = partition === undefined ? folder : `${folder}/..`;
  for (const name of SERIALS) {
    const serial = await readAttribute(`${disk}/${name}`);
    if (serial !== undefined) return partition === undefined ? serial : `${serial}, partition ${partition}`;
  }
  return undefined;
}
