import { readStore } from './copy-store.js';

/** Reads a store, and copies it when `copy` follows its folder. Says on stdout what came of it. */
const [directory = '', copy] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await readStore(directory, copy === 'copy')));
