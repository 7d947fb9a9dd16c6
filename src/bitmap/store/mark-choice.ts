import type { RegionMark } from './region-mark.js';
import type { RegionTable } from './region-table.js';

/** A region of which pieces are named adds little after a crash, so this many of them count as one. */
const EXACT_REGIONS_FOR_A_WHOLE = 16;

/** The marks that a commit makes, and the regions that cool by it because there would be too many marks otherwise. */
export interface MarkChoice {
  readonly marks: ReadonlyMap<number, RegionMark>;
  readonly cooling: readonly number[];
}

/**
 * Chooses the marks of a commit. `inWhole` asks to mark whole regions where pieces are wanted, so that writers wait less
 * often. That happens as far as there is room: if whole regions that grow had to cool for it, nothing would be gained.
 */
export function chooseMarks(
  regions: RegionTable,
  wanted: ReadonlyMap<number, RegionMark>,
  maxWhole: number,
  inWhole: boolean,
): MarkChoice {
  const open = [...wanted].filter(([region]) => !regions.markOf(region)?.isWhole);
  if (inWhole) {
    const asked = open.filter(([, mark]) => mark.isWhole).length;
    let room = maxWhole - regions.wholeSize + regions.calmWholeSize - asked;
    for (const [, mark] of open) if (!mark.isWhole && room-- > 0) mark.nameAll();
  }
  const marks = new Map(open.map(([region, mark]) => [region, regions.markOf(region)?.with(mark) ?? mark]));
  const newWhole = [...marks.values()].filter((mark) => mark.isWhole).length;
  const newRegions = [...marks.keys()].filter((region) => !regions.markOf(region)).length;
  const excessWhole = regions.wholeSize + newWhole - maxWhole;
  const excess = regions.size + newRegions - maxWhole * (1 + EXACT_REGIONS_FOR_A_WHOLE);
  return {
    marks,
    cooling: [
      ...(excessWhole > 0 ? regions.calmestWhole(excessWhole, marks) : []),
      ...(excess > 0 ? regions.oldestExact(excess, marks) : []),
    ],
  };
}
