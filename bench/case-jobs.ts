import { KIB } from '../src/base/units.js';
import type { Case } from './cases.js';
import type { FioJob, Workload } from './fio.js';

/** The exports of a case, which have the same size. */
export interface Served {
  readonly uris: readonly string[];
  readonly sizeBytes: number;
}

/** What connections do. */
type Connected = Workload & Pick<Case, 'latency' | 'connections'>;

/** A job for each connection, for so many seconds or without an end of its own. Random jobs use the whole export; of sequential ones each has a piece of its own. */
export function jobsOf(one: Connected, { uris, sizeBytes }: Served, seconds?: number): FioJob[] {
  const { operation, blockBytes, depth, latency, connections } = one;
  const connectionsEach = connections / uris.length;
  const pieceBytes = wholeBlocks(sizeBytes / connectionsEach, blockBytes);
  const areaOf = (place: number) =>
    operation.startsWith('rand') ? { sizeBytes } : { sizeBytes: pieceBytes, offsetBytes: place * pieceBytes };
  return Array.from({ length: connections }, (_, index) => ({
    ...{ operation, blockBytes, depth, latency },
    ...(seconds === undefined ? {} : { seconds }),
    uri: uris[index % uris.length]!,
    ...areaOf(Math.floor(index / uris.length)),
  }));
}

/** Jobs that overwrite every export once, over as many connections as the case has. */
export function overwritingJobs({ connections }: Case, served: Served): FioJob[] {
  return jobsOf({ operation: 'write', blockBytes: 256 * KIB, depth: 8, latency: false, connections }, served);
}

function wholeBlocks(bytes: number, blockBytes: number): number {
  return bytes - (bytes % blockBytes);
}
