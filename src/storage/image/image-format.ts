import type { FileHandle } from 'node:fs/promises';
import { CodedError } from '../../base/coded-error.js';
import { SECTOR_BYTES } from '../../base/units.js';

/** What the formats that virtual machines know by name begin with. LUKS is not among them: it is what a raw disk holds. */
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

/** A VHD of fixed size is a raw disk with this in the last sector, which old programs made a byte shorter. */
const VHD_FOOTER = Buffer.from('conectix');

export interface ImageToProbe {
  readonly handle: FileHandle;
  readonly path: string;
  readonly sizeBytes: number;
}

/**
 * Refuses an image that looks like one of another format: a client would read its tables in place of the disk, and a
 * write would destroy it. What is found is never used to choose a format, because whoever writes the disk could choose
 * then. @throws CodedError IMAGE_NOT_RAW
 */
export async function checkRaw(image: ImageToProbe): Promise<void> {
  const format = await probe(image);
  if (format === undefined) return;
  throw new CodedError(
    'IMAGE_NOT_RAW',
    `${image.path} looks like a ${format} image, and only raw images are served`,
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

/** Of what cannot be read nothing is known; clients get the error too. */
async function readPart(handle: FileHandle, offset: number): Promise<Buffer> {
  const part = Buffer.alloc(SECTOR_BYTES);
  await handle.read(part, 0, part.length, offset).catch(() => {});
  return part;
}
