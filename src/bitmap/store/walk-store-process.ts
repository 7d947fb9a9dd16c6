import { LmdbStore } from './lmdb-store.js';

/**
 * Reads every entry of a store, in a process of its own, because LMDB believes what it maps into memory: a page that makes
 * no sense can end the process. Says what does not fit on stdout.
 */
const [directory = ''] = process.argv.slice(2);
const store = LmdbStore.open(directory);
let damage = '';
try {
  for (const key of store.keys([])) {
    if (store.peek(key)) continue;
    damage = 'an entry is listed and cannot be found';
    break;
  }
} catch (error) {
  damage = (error as Error).message;
}
process.stdout.write(JSON.stringify({ damage }));
