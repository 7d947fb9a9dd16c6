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
 */
export const formatKey: Key = ['format'];
export const exportKey = (exportName: string): Key => ['export', exportName];
export const bitmapKey = (exportName: string, bitmap: string): Key => ['bitmap', exportName, bitmap];
export const pageKey = (exportName: string, array: number, page: number): Key => ['page', exportName, array, page];
export const regionKey = (exportName: string, region: number): Key => ['region', exportName, region];

export const backupKey = (id: string): Key => ['backup', id];

export const everyExport: Key = ['export'];
export const allBitmaps = (exportName: string): Key => ['bitmap', exportName];
export const allArrays = (exportName: string): Key => ['page', exportName];
export const allPages = (exportName: string, array: number): Key => ['page', exportName, array];
export const allRegions = (exportName: string): Key => ['region', exportName];
export const everyBackup: Key = ['backup'];
