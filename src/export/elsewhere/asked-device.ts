import { type Errno, OK, WOULD_BLOCK } from '../../base/errno.js';
import type { ExtentList } from '../../base/extents.js';
import type { BlockDevice, DeviceCapabilities, ZeroOptions } from '../../storage/device/block-device.js';
import type { PagePipe } from '../../storage/device/page-pipe.js';
import type { DiskAnswer, DiskCall } from './disk-calls.js';

/** Asks the owner of the disk. `owned` is memory of the call that the owner gets. */
export type AskOwner = (call: DiskCall, owned?: ArrayBuffer) => Promise<DiskAnswer>;

/** A disk that belongs to another thread, which does everything with it. */
export class AskedDevice implements BlockDevice {
  constructor(
    readonly capabilities: DeviceCapabilities,
    /** Its size when the client connected. */
    private readonly knownBytes: number,
    private readonly ask: AskOwner,
  ) {}

  get sizeBytes(): number {
    return this.knownBytes;
  }

  readNow(_target: Buffer, _start: number, _length: number, _offset: number): Errno | typeof WOULD_BLOCK {
    return WOULD_BLOCK;
  }

  async read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    const { errno, data } = await this.ask({ call: 'read', offset, length });
    if (errno === OK) target.set(data!, start);
    return errno;
  }

  lendNow(_pipe: PagePipe, _length: number, _offset: number): typeof OK | typeof WOULD_BLOCK {
    return WOULD_BLOCK;
  }

  holeNow(_offset: number, _length: number): number {
    return 0;
  }

  writeNow(_source: Buffer, _start: number, _length: number, _offset: number): Errno | typeof WOULD_BLOCK {
    return WOULD_BLOCK;
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

  /** Nothing may be written afterwards. */
  async close(): Promise<void> {}
}
