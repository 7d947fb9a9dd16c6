import { type Errno, OK, WOULD_BLOCK } from '../../base/errno.js';
import type { ExtentList } from '../../base/extents.js';
import type { BlockDevice, DeviceCapabilities, ZeroOptions } from '../../storage/device/block-device.js';
import type { PagePipe } from '../../storage/device/page-pipe.js';
import { assertInside } from '../../storage/device/range.js';
import type { QuickFile } from '../../storage/file/quick-file.js';
import type { PermittedWrites } from '../../storage/permits/permitted-writes.js';
import type { DiskAnswer, DiskCall } from './thread-messages.js';

/** Asks the owner of the disk. `owned` is memory of the call that the owner gets. */
export type AskOwner = (call: DiskCall, owned?: ArrayBuffer) => Promise<DiskAnswer>;

/**
 * A disk that belongs to another thread. Cached data is read here, and what the owner permits is written here. The owner
 * does everything else.
 */
export class RemoteDevice implements BlockDevice {
  constructor(
    readonly capabilities: DeviceCapabilities,
    private readonly file: QuickFile,
    private readonly permitted: PermittedWrites,
    private readonly ask: AskOwner,
  ) {}

  get sizeBytes(): number {
    return this.permitted.sizeBytes;
  }

  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    assertInside(this.sizeBytes, offset, length);
    return this.file.readNow(target, start, length, offset);
  }

  async read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    const { errno, data } = await this.ask({ call: 'read', offset, length });
    if (errno === OK) target.set(data!, start);
    return errno;
  }

  lendNow(pipe: PagePipe, length: number, offset: number): typeof OK | typeof WOULD_BLOCK {
    assertInside(this.sizeBytes, offset, length);
    return this.file.lendNow(pipe, length, offset);
  }

  holeNow(offset: number, length: number): number {
    assertInside(this.sizeBytes, offset, length);
    return this.file.holeNow(offset, length);
  }

  writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    assertInside(this.sizeBytes, offset, length);
    const { permitted } = this;
    const mayWrite = permitted.begin(offset, length);
    try {
      return mayWrite ? this.file.writeNow(source, start, length, offset) : WOULD_BLOCK;
    } finally {
      permitted.end(mayWrite);
    }
  }

  async write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    const payload = Uint8Array.from(source.subarray(start, start + length));
    const { errno } = await this.ask({ call: 'write', offset, payload }, payload.buffer);
    return errno;
  }

  async zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    const { errno } = await this.ask({ call: 'zero', offset, length, options });
    return errno;
  }

  async trim(offset: number, length: number): Promise<Errno> {
    const { errno } = await this.ask({ call: 'trim', offset, length });
    return errno;
  }

  async flush(): Promise<Errno> {
    const { errno } = await this.ask({ call: 'flush' });
    return errno;
  }

  async cache(offset: number, length: number): Promise<Errno> {
    const { errno } = await this.ask({ call: 'cache', offset, length });
    return errno;
  }

  /** The context `base:allocation`, which is the owner's too, is asked instead. */
  extents(_offset: number, _length: number, _list: ExtentList): Promise<Errno> {
    throw new Error('the allocation of a remote disk is a metadata context');
  }

  async close(): Promise<void> {}
}
