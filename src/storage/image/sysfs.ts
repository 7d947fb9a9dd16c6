import { readFile } from 'node:fs/promises';

/** The sysfs folder of a block device. Device numbers are packed as in glibc's makedev. */
export function sysfsFolder(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return `/sys/dev/block/${major}:${minor}`;
}

/** The number of a device from its text in sysfs, such as `8:1`. */
export function packDevice(text: string): bigint {
  const [major = 0n, minor = 0n] = text.split(':').map(BigInt);
  return ((major & 0xfffn) << 8n) | ((major & ~0xfffn) << 32n) | (minor & 0xffn) | ((minor & ~0xffn) << 12n);
}

/** The value of an attribute; undefined if it is missing or empty. */
export async function readAttribute(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.trim() === '' ? undefined : text.trim();
}

export async function readNumber(path: string): Promise<number | undefined> {
  const text = await readAttribute(path);
  return text === undefined ? undefined : Number(text);
}

/** Attributes that identify a disk: of the device mapper, of NVMe and SCSI, and of virtio. */
const SERIALS = ['dm/uuid', 'wwid', 'device/wwid', 'serial', 'device/serial'];

/**
 * What distinguishes a disk from all others, even if its device number changes at the next boot: its serial number or
 * the equivalent, plus the partition number of a partition. Undefined if the disk in this sysfs folder has none.
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
