import { readStore } from './copy-store.js';

// Arguments: the store's folder, then optionally `copy` to copy the store too. Prints the result on stdout as JSON.
const [directory = '', copy] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await readStore(directory, copy === 'copy')));
