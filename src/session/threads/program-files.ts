import { statSync } from 'node:fs';

/** Where threads and their owner have to agree: what they send each other, and how they share memory. */
const FILES = [
  './client-thread.js',
  './secured-client.js',
  './served-client.js',
  '../../api/values.js',
  '../../export/accounting/accounting-memory.js',
  '../../export/elsewhere/asked-device.js',
  '../../export/elsewhere/disk-calls.js',
  '../../export/elsewhere/remote-device.js',
  '../../storage/permits/permit-memory.js',
  '../../storage/permits/permitted-writes.js',
  '../../bitmap/explained-writes.js',
  '../../bitmap/store/shared-number.js',
];

/** Differs after these files were replaced, as by an upgrade while the server runs. A thread would load the new ones. */
export function programFiles(): string {
  return FILES.map((file) => {
    const found = statSync(new URL(file, import.meta.url), { throwIfNoEntry: false });
    return found && `${found.ino} ${found.size} ${found.mtimeMs}`;
  }).join();
}
