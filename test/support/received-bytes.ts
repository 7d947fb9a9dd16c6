import { GIB } from '../../src/base/units.js';
import { MemoryBudget } from '../../src/session/memory-budget.js';
import { ReceiveBuffer } from '../../src/session/receive-buffer.js';

/** The receive buffer of a connection on which these bytes have arrived. */
export function receivedBytes(bytes: Buffer): ReceiveBuffer {
  const input = new ReceiveBuffer(new MemoryBudget(GIB).open(() => {}));
  for (let at = 0; at < bytes.length; ) {
    // More than 1 MiB gets room only as one message.
    input.has(bytes.length);
    input.claimRoom();
    const count = bytes.copy(input.room(), 0, at);
    input.appended(count);
    at += count;
  }
  return input;
}
