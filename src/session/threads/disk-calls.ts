import { EIO, type Errno, OK, WOULD_BLOCK } from '../../base/errno.js';
import { ExtentList } from '../../base/extents.js';
import type { Agreement } from '../agreement.js';
import type { DiskAnswer, DiskCall } from './thread-messages.js';

/** Makes a call that a thread asks for, on the disk of this thread. */
export async function makeDiskCall(call: DiskCall, { export: served, contexts }: Agreement): Promise<DiskAnswer> {
  const { device } = served;
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
      const errno: Errno = (await contexts[call.context]?.context.status(call.offset, call.length, list)) ?? EIO;
      const { lengths, statuses } = list;
      return errno === OK ? { errno, extents: { lengths, statuses } } : { errno };
    }
  }
}
