import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { silentLog } from '../base/log.js';
import { inspectStore, type StoreReport } from '../bitmap/store/inspect-store.js';
import { loadPosix } from '../storage/posix.js';
import { StateDirectory } from './state-directory.js';

export type StateReport = StoreReport;

/**
 * Reads everything in a state directory that no server uses, and reports what is in it and what does not fit. Changes
 * nothing. @throws CodedError STORE_UNUSABLE when there is no state, or somebody uses it
 */
export async function checkState(directory: string): Promise<StateReport> {
  await stat(join(directory, 'store')).catch(() => {
    throw new CodedError('STORE_UNUSABLE', `there is no state in ${directory}`, 'say with --state DIR where it is');
  });
  const state = await StateDirectory.open(directory, loadPosix(), silentLog);
  try {
    return inspectStore(state.store);
  } finally {
    await state.close();
  }
}
