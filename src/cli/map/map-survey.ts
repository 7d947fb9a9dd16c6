import { extentsOf } from '../../client/block-status-walk.js';
import { contextKind } from '../../client/context-kind.js';
import type { NbdClient } from '../../client/nbd-client.js';
import type { MapLayout } from './map-layout.js';

/** The data that a map shows for one context. */
export interface ContextSurvey {
  readonly name: string;
  /** Bytes that are marked (dirty, allocated) in each slice of the disk. */
  readonly markedBytes: Float64Array;
  totalMarkedBytes: number;
  /** Number of runs of marked bytes. */
  runs: number;
}

interface DescribedExtent {
  readonly offset: number;
  length: number;
  readonly status: number;
  readonly description: string;
}

export interface ContextExtents {
  readonly name: string;
  readonly extents: DescribedExtent[];
}

/** Counts the marked bytes of every selected context by slice. Memory grows with the slices, not the extents. */
export async function surveyExport(client: NbdClient, layout: MapLayout): Promise<ContextSurvey[]> {
  const surveys = client.contexts.map((name) => new SurveyBuilder(name, layout));
  for await (const window of client.extents()) {
    for (const survey of surveys) {
      for (const { offset, length, status } of extentsOf(window, survey.name)) survey.add(offset, length, status);
    }
  }
  return surveys;
}

/** Collects all extents of every selected context, and merges equal neighbours. */
export async function collectExtents(client: NbdClient): Promise<ContextExtents[]> {
  const contexts = client.contexts.map((name) => ({ name, extents: [] as DescribedExtent[] }));
  for await (const window of client.extents()) {
    for (const { name, extents } of contexts) {
      const { describe } = contextKind(name);
      for (const { offset, length, status } of extentsOf(window, name)) {
        const last = extents.at(-1);
        if (last?.status === status) last.length += length;
        else extents.push({ offset, length, status, description: describe(status) });
      }
    }
  }
  return contexts;
}

class SurveyBuilder implements ContextSurvey {
  readonly markedBytes: Float64Array;
  totalMarkedBytes = 0;
  runs = 0;
  private lastMarkedEnd = -1;

  constructor(
    readonly name: string,
    private readonly layout: MapLayout,
  ) {
    this.markedBytes = new Float64Array(layout.sliceCount);
  }

  add(offset: number, length: number, status: number): void {
    if (!contextKind(this.name).isMarked(status)) return;
    const end = offset + length;
    this.totalMarkedBytes += length;
    if (offset !== this.lastMarkedEnd) this.runs++;
    this.lastMarkedEnd = end;
    const { sliceBytes } = this.layout;
    for (let at = offset; at < end; ) {
      const slice = Math.floor(at / sliceBytes);
      const next = Math.min(end, (slice + 1) * sliceBytes);
      this.markedBytes[slice]! += next - at;
      at = next;
    }
  }
}
