import { DEFAULT_BOUNDS, newAccountingMemory } from '../../src/export/accounting/accounting-memory.js';
import { countersOf } from '../../src/export/accounting/disk-accounting.js';
import type { ClientConnection, ConnectionSummary } from '../../src/export/served-disk.js';
import { Command } from '../../src/protocol/constants.js';
import { Recorder } from '../../src/session/recorder.js';

interface Past extends Partial<ConnectionSummary> {
  /** Resolves when it has left; at once if it is missing. */
  readonly drain?: () => Promise<void>;
}

/** A client that does nothing, and has done this before. */
export function idleClient({ drain = async () => {}, ...past }: Past = {}): ClientConnection {
  const { requests = 0, failedRequests = 0, bytesRead = 0, bytesWritten = 0, ...facts } = past;
  const accounting = newAccountingMemory(DEFAULT_BOUNDS);
  const recorder = new Recorder(accounting);
  for (let i = 0; i < requests; i++) recorder.accepted();
  for (let i = 0; i < failedRequests; i++) recorder.failed(Command.READ);
  if (bytesRead > 0) recorder.succeeded(Command.READ, bytesRead, bytesRead);
  if (bytesWritten > 0) recorder.succeeded(Command.WRITE, bytesWritten, bytesWritten);
  const describe = () => ({ id: 1, client: 'unix', connectedAt: '', ...facts, ...countersOf(accounting) });
  return { drain, describe, accounting };
}
