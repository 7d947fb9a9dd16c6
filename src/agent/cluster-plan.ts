import { assert } from '../base/assert.js';
import { BASE_ALLOCATION } from '../base/metadata-contexts.js';
import { extentsOf, type StatusWindow } from '../client/block-status-walk.js';
import type { NbdClient } from '../client/nbd-client.js';
import { AllocationStatus, DIRTY_BITMAP_DIRTY } from '../protocol/constants.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';

/** Unchanged since the base, known to be zero, or to be read. */
type RunKind = 'skip' | 'zero' | 'data';

/** A range in bytes. It covers whole clusters, except at the end of the disk. */
export interface ClusterRun {
  readonly offset: number;
  length: number;
  readonly kind: RunKind;
}

/**
 * Says what to do with every cluster of an export, or of a range of whole clusters. Yields runs by ascending offset;
 * neighbours differ in kind. A cluster with a dirty byte is dirty. Without a dirty context, everything is dirty. If the
 * client has no allocation context, nothing is known to be zero.
 */
export async function* planClusters(
  client: Pick<NbdClient, 'sizeBytes' | 'extents'>,
  dirtyContext: string | undefined,
  range: { readonly offset: number; readonly length: number } = { offset: 0, length: client.sizeBytes },
): AsyncGenerator<ClusterRun> {
  const joiner = new ClusterJoiner(client.sizeBytes);
  const contexts = [...(dirtyContext === undefined ? [] : [dirtyContext]), BASE_ALLOCATION];
  for await (const window of client.extents(range.offset, range.length, contexts)) {
    for (const piece of piecesOf(window, dirtyContext)) yield* joiner.add(piece);
  }
  yield* joiner.end();
}

/** A run of bytes with one status in each context. */
export interface StatusPiece {
  readonly offset: number;
  readonly length: number;
  readonly dirty: boolean;
  readonly zero: boolean;
}

/** Splits the extents of both contexts wherever either changes. What no piece covered would be left unread. */
function* piecesOf(window: StatusWindow, dirtyContext: string | undefined): Generator<StatusPiece> {
  const dirty = statusesIn(window, dirtyContext, (status) => (status & DIRTY_BITMAP_DIRTY) !== 0, true);
  const zero = statusesIn(window, BASE_ALLOCATION, (status) => (status & AllocationStatus.ZERO) !== 0, false);
  const end = window.offset + window.length;
  let [d, z] = [dirty.next().value, zero.next().value];
  let at = window.offset;
  while (at < end && d && z) {
    const next = Math.min(d.end, z.end);
    yield { offset: at, length: next - at, dirty: d.marked, zero: z.marked };
    at = next;
    if (d.end === at) d = dirty.next().value;
    if (z.end === at) z = zero.next().value;
  }
  assert(at === end, 'the extents of every context cover the whole window');
}

interface Marked {
  readonly end: number;
  readonly marked: boolean;
}

/** A context that was not selected yields one extent marked `otherwise`. */
function* statusesIn(
  window: StatusWindow,
  context: string | undefined,
  isMarked: (status: number) => boolean,
  otherwise: boolean,
): Generator<Marked, undefined> {
  if (context === undefined || !window.extents.has(context)) {
    yield { end: window.offset + window.length, marked: otherwise };
    return;
  }
  for (const { offset, length, status } of extentsOf(window, context)) {
    yield { end: offset + length, marked: isMarked(status) };
  }
}

/** Joins pieces of any length into runs of whole clusters. */
export class ClusterJoiner {
  private run: ClusterRun | undefined;
  /** Status of the cluster that the pieces so far have not filled. */
  private dirty = false;
  private allZero = true;

  constructor(private readonly sizeBytes: number) {}

  /** Takes the next piece. Yields each run that is complete. */
  *add({ offset, length, dirty, zero }: StatusPiece): Generator<ClusterRun> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const isStart = at % CLUSTER_BYTES === 0;
      const wholeEnd = end === this.sizeBytes ? end : end - (end % CLUSTER_BYTES);
      if (isStart && wholeEnd > at) {
        yield* this.join(at, wholeEnd - at, kindOf(dirty, zero));
        at = wholeEnd;
        continue;
      }
      const clusterStart = at - (at % CLUSTER_BYTES);
      const clusterEnd = Math.min(clusterStart + CLUSTER_BYTES, this.sizeBytes);
      this.dirty ||= dirty;
      this.allZero &&= zero;
      at = Math.min(end, clusterEnd);
      if (at !== clusterEnd) continue;
      yield* this.join(clusterStart, clusterEnd - clusterStart, kindOf(this.dirty, this.allZero));
      this.dirty = false;
      this.allZero = true;
    }
  }

  *end(): Generator<ClusterRun> {
    if (this.run) yield this.run;
  }

  private *join(offset: number, length: number, kind: RunKind): Generator<ClusterRun> {
    if (this.run?.kind === kind) {
      this.run.length += length;
      return;
    }
    if (this.run) yield this.run;
    this.run = { offset, length, kind };
  }
}

function kindOf(dirty: boolean, zero: boolean): RunKind {
  if (!dirty) return 'skip';
  return zero ? 'zero' : 'data';
}
