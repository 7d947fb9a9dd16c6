import type { Backups } from '../backup/backups.js';
import type { ExportRegistry } from '../export/registry.js';
import { type DescribedThreshold, describeThreshold, thresholdFrom } from '../watch/thresholds/described.js';
import type { ThresholdSpec } from '../watch/thresholds/threshold-spec.js';
import { Thresholds } from '../watch/thresholds/thresholds.js';
import type { ServerConfig } from './config.js';
import type { ServerEvents } from './server-events.js';
import { StateFile } from './state-file.js';

/** Far more than the thresholds that commands can add need. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** What thresholds look at, and whom they tell. */
interface Watched extends Pick<ServerEvents, 'feed' | 'history'> {
  readonly exports: ExportRegistry;
  readonly backups: Backups;
}

/**
 * The thresholds of the configuration, and those that commands have added, which are kept in the state directory. Without
 * one, they are only in memory. @throws CodedError CONFIG_INVALID
 */
export async function openThresholds(
  { thresholds: configured, stateDirectory: state, scratchDirectory: scratch }: ServerConfig,
  keptIn: string | undefined,
  { exports, backups, feed: events, history }: Watched,
): Promise<Thresholds> {
  const file = keptIn === undefined ? undefined : fileIn(keptIn);
  const added = ((await file?.read()) ?? []).map(thresholdFrom).filter((spec) => typeof spec !== 'string');
  const save = async (specs: readonly ThresholdSpec[]) => file?.save(specs.map(describeThreshold));
  return new Thresholds({ configured, added, save, exports, backups, events, history, places: { state, scratch } });
}

function fileIn(stateDirectory: string): StateFile<DescribedThreshold> {
  return new StateFile(stateDirectory, {
    what: 'thresholds',
    mend: 'restore the file from a backup; or remove it, and add its thresholds again',
    maxBytes: MAX_FILE_BYTES,
    isItem: isThreshold,
  });
}

function isThreshold(found: unknown): found is DescribedThreshold {
  const described = (found ?? {}) as DescribedThreshold;
  return Array.isArray(described.exports) && typeof thresholdFrom(described) !== 'string';
}
