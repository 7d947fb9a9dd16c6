import { EIO, type Errno, OK, WOULD_BLOCK } from '../../base/errno.js';
import { ExtentList } from '../../base/extents.js';
import type { BlockDevice, ZeroOptions } from '../../storage/device/block-device.js';
import type { MetadataContext } from '../metadata-context.js';

/** What a thread asks the owner of a disk to do with it. */
export type DiskCall =
  | { readonly call: 'read' | 'trim' | 'cache'; readonly offset: number; readonly length: number }
  | { readonly call: 'write'; readonly offset: number; readonly payload: Uint8Array<ArrayBuffer> }
  | { readonly call: 'zero'; readonly offset: number; readonly length: number; readonly options: ZeroOptions }
  | { readonly call: 'flush' }
  | StatusCall;

interface StatusCall {
  readonly call: 'status';
  /** Its place among those that the client has selected. */
  readonly context: number;
  readonly offset: number;
  readonly length: number;
  /** As in `ExtentList`. */
  readonly limit: number;
  readonly maxRuns: number;
}

export interface DiskAnswer {
  readonly errno: Errno;
  /** What was read. */
  readonly data?: Uint8Array<ArrayBuffer>;
  readonly extents?: { readonly lengths: readonly number[]; readonly statuses: readonly number[] };
}

/** Makes a call that another thread asks for. `contexts` are those that its client has selected. */
export async function makeDiskCall(
  call: DiskCall,
  device: BlockDevice,
  contexts: readonly MetadataContext[],
): Promise<DiskAnswer> {
  switch (call.call) {
    case 'read': {
      const data = Buffer.allocUnsafeSlow(call.length);
      const errno = await device.read(data, 0, call.length, call.offset);
      return errno === OK ? { errno, data } : { errno };
    }
    case 'write': {
      const { buffer, byteOffset, length } = call.payload;
      const payload = Buffer.from(buffer, byteOffset, length);
      const errno = device.writeNow(payload, 0, length, call.offset);
      return { errno: errno === WOULD_BLOCK ? await device.write(payload, 0, length, call.offset) : errno };
    }
    case 'zero':
      return { errno: await device.zero(call.offset, call.length, call.options) };
    case 'trim':
      return { errno: await device.trim(call.offset, call.length) };
    case 'cache':
      return { errno: await device.cache(call.offset, call.length) };
    case 'flush':
      return { errno: await device.flush() };
    case 'status': {
      const list = new ExtentList(call.limit, call.maxRuns);
      const errno: Errno = (await contexts[call.context]?.status(call.offset, call.length, list)) ?? EIO;
      const { lengths, statuses } = list;
      return errno === OK ? { errno, extents: { lengths, statuses } } : { errno };
    }
  }
}
