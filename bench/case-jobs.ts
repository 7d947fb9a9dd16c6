import { KIB } from '../src/base/units.js';
import type { Case } from './cases.js';
import type { FioJob } from './fio.js';

/** The exports of a case, which have the same size. */
interface Served {
  readonly uris: readonly string[];
  readonly sizeBytes: number;
}

/** A job for each connection. Random jobs use the whole export; of sequential ones each has a piece of its own. */
export function jobsOf(one: Case, { uris, sizeBytes }: Served, seconds: number): FioJob[] {
  const { operation, blockBytes, depth, latency, connections } = one;
  const connectionsEach = connections / uris.length;
  const pieceBytes = wholeBlocks(sizeBytes / connectionsEach, blockBytes);
  const areaOf = (place: number) =>
    operation.startsWith('rand') ? { sizeBytes } : { sizeBytes: pieceBytes, offsetBytes: place * pieceBytes };
  return Array.from({ length: connections }, (_, index) => ({
    ...{ operation, blockBytes, depth, latency, seconds },
    uri: uris[index % uris.length]!,
    ...areaOf(Math.floor(index / uris.length)),
  }));
}

/** Jobs that overwrite every export once. */
export function overwritingJobs({ uris, sizeBytes }: Served): FioJob[] {
  const job = { operation: 'write', blockBytes: 256 * KIB, depth: 8, latency: false } as const;
  return uris.map((uri) => ({ ...job, uri, sizeBytes }));
}

function wholeBlocks(bytes: number, blockBytes: number): number {
  return bytes - (bytes % blockBytes);
}
