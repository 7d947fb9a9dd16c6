import type { Key } from './key-value-store.js';

/**
 * Where things are in the store:
 *
 *   format                       version of all this
 *   export  EXPORT               what the disk was, and whether it was closed cleanly
 *   bitmap  EXPORT BITMAP        the state of a bitmap, and the numbers of its bit arrays
 *   page    EXPORT ARRAY PAGE    bits, without the zeroes at their end; an empty page is not there
 *   region  EXPORT REGION        a mark of the write-intent log
 *   backup  ID                   a backup session, how it ended included
 *   sum     [EXPORT]             what the keys and checksums of an export's entries add up to; of all others without its name
 *   lost                         why bitmaps may be missing; until every export of the configuration was opened
 */
export const formatKey: Key = ['format'];
export const exportKey = (exportName: string): Key => ['export', exportName];
export const bitmapKey = (exportName: string, bitmap: string): Key => ['bitmap', exportName, bitmap];
export const pageKey = (exportName: string, array: number, page: number): Key => ['page', exportName, array, page];
export const regionKey = (exportName: string, region: number): Key => ['region', exportName, region];

export const backupKey = (id: string): Key => ['backup', id];

export const lostKey: Key = ['lost'];

/** What an entry belongs to: an export, or, as '', to the store. */
export function groupOf([kind, name]: Key): string {
  return kind === 'export' || kind === 'bitmap' || kind === 'page' || kind === 'region' ? String(name) : '';
}
export const sumKey = (group: string): Key => (group === '' ? ['sum'] : ['sum', group]);

/** Prefixes of all that an export has, each before what depends on it. */
export const entriesOf = (exportName: string): Key[] => [
  exportKey(exportName),
  allBitmaps(exportName),
  allArrays(exportName),
  allRegions(exportName),
];
/** Prefixes of all that belongs to no export. */
export const entriesOfStore: readonly Key[] = [['format'], ['backup'], ['lost']];
export const everySum: Key = ['sum'];

export const everyExport: Key = ['export'];
export const allBitmaps = (exportName: string): Key => ['bitmap', exportName];
export const allArrays = (exportName: string): Key => ['page', exportName];
export const allPages = (exportName: string, array: number): Key => ['page', exportName, array];
export const allRegions = (exportName: string): Key => ['region', exportName];
export const everyBackup: Key = ['backup'];
