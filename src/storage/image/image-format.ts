import type { FileHandle } from 'node:fs/promises';
import { CodedError } from '../../base/coded-error.js';
import { SECTOR_BYTES } from '../../base/units.js';

/** The magic numbers of virtual machine image formats. LUKS is not one of them: it is content of a raw disk. */
const beginnings: readonly { readonly format: string; readonly at: number; readonly magic: Buffer }[] = [
  { format: 'qcow2', at: 0, magic: Buffer.from('QFI\xfb', 'latin1') },
  { format: 'QED', at: 0, magic: Buffer.from('QED\0') },
  { format: 'VMDK', at: 0, magic: Buffer.from('KDMV') },
  { format: 'VMDK', at: 0, magic: Buffer.from('COWD') },
  { format: 'VMDK', at: 0, magic: Buffer.from('# Disk DescriptorFile') },
  { format: 'VDI', at: 0x40, magic: Buffer.from('7f10dabe', 'hex') },
  { format: 'VHDX', at: 0, magic: Buffer.from('vhdxfile') },
  { format: 'VHD', at: 0, magic: Buffer.from('conectix') },
  { format: 'Parallels', at: 0, magic: Buffer.from('WithoutFreeSpace') },
  { format: 'Parallels', at: 0, magic: Buffer.from('WithouFreSpacExt') },
];

/** A VHD of fixed size is a raw disk with this in its last sector, which old programs wrote one byte short. */
const VHD_FOOTER = Buffer.from('conectix');

export interface ImageToProbe {
  readonly handle: FileHandle;
  readonly path: string;
  readonly sizeBytes: number;
}

/**
 * Rejects an image that looks like another format: a client would read the format's tables instead of the disk, and a
 * write would destroy the image. The result never selects a format, because then anyone who can write to the disk could
 * select it. @throws CodedError IMAGE_NOT_RAW
 */
export async function checkRaw(image: ImageToProbe): Promise<void> {
  const format = await probe(image);
  if (format === undefined) return;
  throw new CodedError(
    'IMAGE_NOT_RAW',
    `${image.path} looks like a ${format} image, but only raw images can be served`,
    `convert it with qemu-img convert -O raw; if it is a raw disk that happens to look like that, add format=raw`,
  );
}

async function probe({ handle, sizeBytes }: ImageToProbe): Promise<string | undefined> {
  const start = await readPart(handle, 0);
  const found = beginnings.find(({ at, magic }) => start.subarray(at, at + magic.length).equals(magic));
  if (found) return found.format;
  const end = await readPart(handle, Math.max(0, sizeBytes - SECTOR_BYTES));
  const isFooter = [0, 1].some((at) => end.subarray(at, at + VHD_FOOTER.length).equals(VHD_FOOTER));
  return isFooter ? 'VHD' : undefined;
}

/** A part that cannot be read counts as zeroes. Clients that read it will get the error. */
async function readPart(handle: FileHandle, offset: number): Promise<Buffer> {
  const part = Buffer.alloc(SECTOR_BYTES);
  await handle.read(part, 0, part.length, offset).catch(() => {});
  return part;
}
