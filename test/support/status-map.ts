import type { Range } from './image.js';
import { run } from './run.js';

export interface MapExtent extends Range {
  readonly type: number;
}

/** The block status of a whole export in one metadata context, from nbdinfo, with equal neighbours merged. */
export async function statusMap(uri: string, context: string): Promise<MapExtent[]> {
  const shown: MapExtent[] = JSON.parse(await run('nbdinfo', '--json', `--map=${context}`, uri));
  const merged: MapExtent[] = [];
  for (const { offset, length, type } of shown) {
    const last = merged.at(-1);
    if (last?.type === type) merged[merged.length - 1] = { ...last, length: last.length + length };
    else merged.push({ offset, length, type });
  }
  return merged;
}

/** The dirty ranges of a bitmap, from nbdinfo. */
export async function dirtyRanges(uri: string, bitmap: string): Promise<Range[]> {
  const extents = await statusMap(uri, `qemu:dirty-bitmap:${bitmap}`);
  return extents.filter(({ type }) => type === 1).map(({ offset, length }) => ({ offset, length }));
}
