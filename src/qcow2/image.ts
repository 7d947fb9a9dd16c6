import type { FileHandle } from 'node:fs/promises';
import { CLUSTER_BITS, CLUSTER_BYTES } from './clusters.js';
import {
  ClusterState,
  ENTRY_BYTES,
  entryAt,
  headerLayout,
  l1EntriesFor,
  MAX_BACKING_NAME_BYTES,
  QCOW2_MAGIC,
  QCOW2_VERSION,
  type Qcow2Header,
  REFCOUNT_ORDER,
} from './format.js';
import { backingNameIn } from './head.js';
import { openImageFile, Qcow2Error, readFully, unreadable } from './image-file.js';

/** An image made by `Qcow2Writer`, open for reading. */
export class Qcow2Image implements AsyncDisposable {
  private constructor(
    readonly path: string,
    readonly file: FileHandle,
    readonly fileBytes: number,
    readonly header: Qcow2Header,
    /** The first cluster. */
    readonly head: Buffer,
    private readonly l1: Buffer,
  ) {}

  /** @throws Qcow2Error when the file is not such an image; the system error when it cannot be opened */
  static async open(path: string): Promise<Qcow2Image> {
    const file = await openImageFile(path);
    try {
      const { size } = await file.stat();
      const head = await readFully(file, 0, CLUSTER_BYTES, path);
      const header = headerLayout.decode(head);
      checkHeader(header, size, path);
      checkBackingName(backingNameIn(head), path);
      const l1 = await readFully(file, header.l1Offset, header.l1Entries * ENTRY_BYTES, path);
      return new Qcow2Image(path, file, size, header, head, l1);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The name as it is stored in the image; undefined when it has no backing file. */
  get backingName(): string | undefined {
    return backingNameIn(this.head);
  }

  /** The size of the disk. */
  get sizeBytes(): number {
    return this.header.sizeBytes;
  }

  get l1Entries(): number {
    return this.header.l1Entries;
  }

  /** The offset of an L2 table in the file; UNALLOCATED when there is no such table. @throws Qcow2Error */
  l2OffsetAt(index: number): number {
    if (index >= this.l1Entries) return ClusterState.UNALLOCATED;
    return this.checkOffset(entryAt(this.l1, index), `L1 entry ${index}`);
  }

  /** Reads an L2 table; undefined when there is no such table. @throws Qcow2Error */
  async readL2(index: number): Promise<Buffer | undefined> {
    const offset = this.l2OffsetAt(index);
    return offset === ClusterState.UNALLOCATED ? undefined : await this.read(offset, CLUSTER_BYTES);
  }

  /** The offset of a cluster's data in the file, or ZERO or UNALLOCATED. @throws Qcow2Error */
  clusterAt(l2: Buffer, index: number): number {
    const entry = entryAt(l2, index);
    return entry === ClusterState.ZERO ? entry : this.checkOffset(entry, `L2 entry ${index}`);
  }

  /** Reads exactly `length` bytes from the file. @throws Qcow2Error */
  async read(offset: number, length: number, into?: Buffer): Promise<Buffer> {
    return await readFully(this.file, offset, length, this.path, into).catch((error: Error) => {
      throw error instanceof Qcow2Error ? error : unreadable(this.path, error);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file.close();
  }

  private checkOffset(offset: number, where: string): number {
    const fits = offset >= 0 && offset % CLUSTER_BYTES === 0 && offset <= this.fileBytes - CLUSTER_BYTES;
    if (!fits) throw new Qcow2Error(this.path, `${where} points outside the file`);
    return offset;
  }
}

function checkHeader(header: Qcow2Header, fileBytes: number, path: string): void {
  const refuse = (why: string): never => {
    throw new Qcow2Error(path, why);
  };
  if (header.magic !== QCOW2_MAGIC) refuse('it is not a qcow2 image, or it is unfinished');
  const known =
    header.version === QCOW2_VERSION &&
    header.clusterBits === CLUSTER_BITS &&
    header.refcountOrder === REFCOUNT_ORDER &&
    header.encryption === 0 &&
    header.incompatibleFeatures === 0;
  if (!known) refuse('it is a qcow2 image that tidemark did not make');
  if (header.l1Entries !== l1EntriesFor(header.sizeBytes)) refuse('its L1 table does not match its size');
  if (header.l1Offset + header.l1Entries * ENTRY_BYTES > fileBytes) refuse('its L1 table is outside the file');
  const nameEnd = header.backingNameOffset + header.backingNameBytes;
  if (header.backingNameBytes > MAX_BACKING_NAME_BYTES || nameEnd > CLUSTER_BYTES)
    refuse('the name of its backing file is invalid');
}

/** The images of a chain are in one folder, so tidemark never writes a name that leads elsewhere. */
function checkBackingName(name: string | undefined, path: string): void {
  if (name === undefined || (/^[^/\0]+$/.test(name) && name !== '.' && name !== '..')) return;
  throw new Qcow2Error(path, 'its backing file is not in the same folder');
}
