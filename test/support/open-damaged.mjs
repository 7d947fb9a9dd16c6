// Opens one store after another in each of which a bit has flipped, as a server does after a crash, and prints what it
// finds. The check of all pages, which a server leaves to another process, happens in this process unless `separate` is
// given. So a damaged page may end this process, during the check or later.

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

const { BitmapSet } = await built('bitmap/bitmap-set');
const { damageOfLmdbFile, STORE_FILE } = await built('bitmap/store/check-lmdb-file');
const { noteClosed } = await built('bitmap/store/closing-note');
const { COPY_FOLDER, readStore } = await built('bitmap/store/copy-store');
const { ServerStore } = await built('bitmap/store/open-store');
const { PersistentBitmaps } = await built('bitmap/store/persistent-bitmaps');
const { putInPlace } = await built('bitmap/store/put-in-place');
const { walkStore } = await built('bitmap/store/walk-store');
const { readExport } = await built('bitmap/store/stored-exports');

/** @type {any} */
const log = { debug() {}, info() {}, warn() {}, error() {} };
const limits = { regionBytes: 2 ** 19, maxActiveRegions: 12, coolAfterTicks: 0 };
/**
 * @type {{ store: string; work: string; exports: string[]; flips: ({ at: number; bit: number } | null)[]; separate:
 * boolean }}
 */
const { store: original, work, exports, flips, separate } = JSON.parse(await text(process.stdin));
const identities = await identitiesOf();

for (const flip of flips) {
  const folder = copyOf(flip);
  const damage = damageOfLmdbFile(join(folder, STORE_FILE)) ?? (await walk(folder));
  say(damage ? { setAside: damage } : await open(folder));
  rmSync(folder, { recursive: true });
}

/** @param {string} folder */
async function walk(folder) {
  if (separate) return walkStore(folder, { renew: true });
  const { damage, isCopied } = await readStore(folder, true);
  if (isCopied) await putInPlace(COPY_FOLDER, folder);
  return damage;
}

/** @param {unknown} what */
function say(what) {
  writeFileSync(1, `${JSON.stringify(what)}\n`);
}

/** @param {{ at: number; bit: number } | null} flip */
function copyOf(flip) {
  const folder = join(work, 'store');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const content = readFileSync(join(original, STORE_FILE));
  if (flip) content[flip.at] = (content[flip.at] ?? 0) ^ (1 << flip.bit);
  writeFileSync(join(folder, STORE_FILE), content);
  return folder;
}

/** @param {string} folder */
async function serverStore(folder) {
  // All pages were checked already, without a process for that.
  await noteClosed(folder);
  return ServerStore.open(folder, log);
}

/** Which disk each export is, according to the store without damage. */
async function identitiesOf() {
  const folder = join(work, 'sound');
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(original, STORE_FILE), join(folder, STORE_FILE));
  const store = await serverStore(folder);
  const found = exports.map((name) => /** @type {const} */ ([name, readExport(store.entries, name)?.identity]));
  await store.close();
  return new Map(found);
}

/** @param {string} folder */
async function open(folder) {
  const store = await serverStore(folder);
  const found = [];
  for (const exportName of exports) {
    /** @type {any} */
    const identity = identities.get(exportName);
    const bitmaps = new BitmapSet(identity.sizeBytes);
    const parts = { exportName, bitmaps, store: store.entries, identify: async () => identity, readOnly: false };
    const { lost } = store;
    const opened = await PersistentBitmaps.open({ ...parts, limits, onBitmapError: 'refuse', lost, log });
    found.push({ exportName, lost: opened.lost, bitmaps: bitmaps.list().map(describe) });
  }
  await store.close();
  return found;
}

/** @param {any} bitmap */
function describe({ name, inconsistent, base, granularityBytes, arrays: { bits } }) {
  /** @type {{ offset: number; length: number }[]} */
  const dirty = [];
  bits.eachRun(0, bits.length, (/** @type {number} */ from, /** @type {number} */ end) =>
    dirty.push({ offset: from * granularityBytes, length: (end - from) * granularityBytes }),
  );
  return { name, inconsistent, base: JSON.stringify(base), dirty };
}

/** A module of the build, which does not exist while types are checked. @param {string} name @returns {Promise<any>} */
function built(name) {
  return import(new URL(`../../dist/${name}.js`, import.meta.url).href);
}
