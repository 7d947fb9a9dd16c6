import { readdir, readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { isMissing } from '../base/errno.js';

/** One file of the page, ready to be sent. */
export interface PageFile {
  readonly mediaType: string;
  readonly plain: Buffer;
  readonly gzipped: Buffer;
}

/** The page: its document, and what that loads, by the name of the file. */
export interface Page {
  readonly document: PageFile;
  readonly assets: ReadonlyMap<string, PageFile>;
}

const mediaTypes: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Where the build puts the page. */
const builtPage = fileURLToPath(new URL('../page/', import.meta.url));

const compress = promisify(gzip);

/** Reads and compresses the whole page. Undefined if it was not built. */
export async function loadPage(folder = builtPage): Promise<Page | undefined> {
  try {
    const names = await readdir(`${folder}/assets`);
    const files = names.map(async (name) => [name, await loadFile(`${folder}/assets/${name}`)] as const);
    return { document: await loadFile(`${folder}/index.html`), assets: new Map(await Promise.all(files)) };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function loadFile(path: string): Promise<PageFile> {
  const plain = await readFile(path);
  return {
    mediaType: mediaTypes[extname(path)] ?? 'application/octet-stream',
    plain,
    gzipped: await compress(plain),
  };
}
