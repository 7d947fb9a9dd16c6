import type { Key } from './key-value-store.js';

/**
 * The keys of the store:
 *
 *   format                       version of this format
 *   export  EXPORT               identity of the disk, and whether it was closed cleanly
 *   bitmap  EXPORT BITMAP        the state of a bitmap, and the numbers of its bit arrays
 *   page    EXPORT ARRAY PAGE    bits without trailing zeroes; an empty page has no entry
 *   region  EXPORT REGION        a mark of the write-intent log
 *   backup  ID                   a backup session, including how it ended
 *   sum     [EXPORT]             sum over the keys and checksums of an export's entries; without EXPORT, of all others
 *   lost                         why bitmaps may be missing; removed once every configured export was opened
 */
export const formatKey: Key = ['format'];
export const exportKey = (exportName: string): Key => ['export', exportName];
export const bitmapKey = (exportName: string, bitmap: string): Key => ['bitmap', exportName, bitmap];
export const pageKey = (exportName: string, array: number, page: number): Key => ['page', exportName, array, page];
export const regionKey = (exportName: string, region: number): Key => ['region', exportName, region];

export const backupKey = (id: string): Key => ['backup', id];

export const lostKey: Key = ['lost'];

/** The export that an entry belongs to; '' for the store itself. */
export function groupOf([kind, name]: Key): string {
  return kind === 'export' || kind === 'bitmap' || kind === 'page' || kind === 'region' ? String(name) : '';
}
export const sumKey = (group: string): Key => (group === '' ? ['sum'] : ['sum', group]);

/** Prefixes of an export's entries, each before the entries that depend on it. */
export const entriesOf = (exportName: string): Key[] => [
  exportKey(exportName),
  allBitmaps(exportName),
  allArrays(exportName),
  allRegions(exportName),
];
/** Prefixes of the entries that belong to no export. */
export const entriesOfStore: readonly Key[] = [['format'], ['backup'], ['lost']];
export const everySum: Key = ['sum'];

export const everyExport: Key = ['export'];
export const allBitmaps = (exportName: string): Key => ['bitmap', exportName];
export const allArrays = (exportName: string): Key => ['page', exportName];
export const allPages = (exportName: string, array: number): Key => ['page', exportName, array];
export const allRegions = (exportName: string): Key => ['region', exportName];
export const everyBackup: Key = ['backup'];
