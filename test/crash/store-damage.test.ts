import { spawn } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { Control } from '../support/control.js';
import { makeImage, type Range } from '../support/image.js';
import { Random, testSeed } from '../support/random.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemarkIn, type Tidemark } from '../support/tidemark.js';

const DISK_BYTES = 64 * MIB;
/** The size of the store's pages. */
const PAGE_BYTES = 4 * KIB;
const options = ['--region-size', '512K', '--max-active-regions', '12', '--cool-after', '0'];

const seed = testSeed();
const rounds = Math.ceil(Number(process.env.TIDEMARK_ROUNDS ?? 12) / 2);

interface Left {
  readonly state: string;
  readonly specs: readonly string[];
  /** The dirty ranges of each bitmap without damage. */
  readonly dirty: ReadonlyMap<string, readonly Range[]>;
}

/** A state with several bitmaps, an ended and an active backup, and, if the server was killed, marked regions. */
async function leave(random: Random, signal: 'SIGKILL' | 'SIGTERM'): Promise<Left> {
  const folder = scratchFolder();
  const specs = [
    `disk=${makeImage(DISK_BYTES)},bitmap=nightly,bitmap=fine:512`,
    `other=${makeImage(4 * MIB)},bitmap=nightly`,
    `written=${makeImage(4 * MIB)},bitmap=nightly`,
  ];
  const server = await startTidemarkIn(folder, specs, options);
  const control = new Control(server.control);
  const write = async (count: number) => {
    const client = await NbdClient.connect(server.uri('disk'));
    for (let i = 0; i < count; i++)
      await client.write(512 * random.below(DISK_BYTES / 512 - 8), Buffer.alloc(4 * KIB, 1));
    await client.disconnect();
  };
  await write(40);
  const wanted = { exports: ['disk', 'other'], bitmap: 'nightly' };
  const { id } = await control.call<{ id: string }>('POST', '/v1/backups', wanted);
  await control.call('POST', `/v1/backups/${id}/commit`);
  await write(40);
  await control.call('POST', '/v1/backups', wanted);
  await write(10);
  await server.stop(signal);
  const state = join(folder, 'state');
  const copy = join(scratchFolder(), 'state');
  cpSync(state, copy, { recursive: true });
  const dirty = await serve({ state, specs, dirty: new Map() }, folder);
  return { state: copy, specs, dirty };
}

/** Serves a state. Resolves to the dirty ranges of the trusted bitmaps. */
async function serve({ specs }: Left, folder: string): Promise<Map<string, Range[]>> {
  const server = await startTidemarkIn(folder, specs, options);
  const dirty = new Map<string, Range[]>();
  for (const exportName of ['disk', 'other']) await lookAt(server, exportName, dirty);
  // Not to the others, because new file times would make their bitmaps inconsistent after a clean stop.
  const client = await NbdClient.connect(server.uri('written'));
  await client.write(0, Buffer.alloc(512));
  await client.disconnect();
  expect([await server.stop(), server.output()]).toEqual([0, expect.not.stringMatching(/bug/)]);
  return dirty;
}

async function lookAt(server: Tidemark, exportName: string, dirty: Map<string, Range[]>): Promise<void> {
  const bitmaps = await new Control(server.control).bitmaps(exportName);
  expect(bitmaps.map(({ name }) => name)).toContain('nightly');
  for (const { name, inconsistent } of bitmaps) {
    if (!inconsistent) dirty.set(`${exportName} ${name}`, await dirtyRanges(server.uri(exportName), name));
  }
}

/** The ranges that were dirty and no longer are. */
function missing(before: readonly Range[], now: readonly Range[]): Range[] {
  return before.filter(
    ({ offset, length }) =>
      !now.some((range) => range.offset <= offset && range.offset + range.length >= offset + length),
  );
}

function flipBit(file: string, random: Random): string {
  const content = readFileSync(file);
  // Skip empty pages.
  for (;;) {
    const page = random.below(content.length / PAGE_BYTES) * PAGE_BYTES;
    const used = random.chance(2) ? 128 : PAGE_BYTES;
    const at = page + random.below(used);
    if (content.subarray(page, page + PAGE_BYTES).every((byte) => byte === 0)) continue;
    const bit = random.below(8);
    content[at]! ^= 1 << bit;
    writeFileSync(file, content);
    return `bit ${bit} of byte ${at}`;
  }
}

test.each(['SIGKILL', 'SIGTERM'] as const)(
  `if any bit of the store flips after %s, trusted bitmaps have lost nothing and the disks are served (${rounds} rounds)`,
  { timeout: 60_000 + rounds * 20_000 },
  async (signal) => {
    const random = new Random(seed);
    const left = await leave(random, signal);
    expect([...left.dirty.keys()]).toEqual(['disk fine', 'disk nightly', 'other nightly']);
    let trusted = 0;
    for (let round = 0; round < rounds; round++) {
      const folder = scratchFolder();
      const state = join(folder, 'state');
      cpSync(left.state, state, { recursive: true });
      const what = `seed ${seed}, round ${round}: ${flipBit(join(state, 'store', 'data.mdb'), random)}`;
      const dirty = await serve(left, folder).catch((cause) => {
        throw new Error(what, { cause });
      });
      for (const [bitmap, before] of left.dirty) {
        const now = dirty.get(bitmap);
        if (now) expect(missing(before, now), `${what}: ${bitmap} lost these`).toEqual([]);
      }
      trusted += dirty.size;
      rmSync(state, { recursive: true });
    }
    // Otherwise a server that trusts nothing would pass.
    expect(trusted).toBeGreaterThan(0);
    console.log(`${((100 * trusted) / (3 * rounds)).toFixed(0)} % of the bitmaps were trusted after ${signal}`);
  },
);

interface Flip {
  readonly at: number;
  readonly bit: number;
}

/** The report of open-damaged.mjs about a store. */
type Opened =
  | { readonly setAside: string }
  | readonly {
      readonly exportName: string;
      readonly lost?: string;
      readonly bitmaps: readonly {
        readonly name: string;
        readonly inconsistent?: string;
        readonly base: string;
        readonly dirty: readonly Range[];
      }[];
    }[];

const flipRounds = rounds * 10;

/**
 * Opens the store once per flip. If the process crashes, it opens that flip again and checks the pages in another process,
 * as a server does.
 */
async function openEach(store: string, flips: readonly (Flip | null)[]): Promise<Opened[]> {
  const opened: Opened[] = [];
  while (opened.length < flips.length) {
    opened.push(...(await openIn(store, flips.slice(opened.length), false)));
    const flip = flips[opened.length];
    if (flip === undefined) break;
    const alone = await openIn(store, [flip], true);
    expect(alone, `seed ${seed}: ${JSON.stringify(flip)} ends the process that opens the store`).toHaveLength(1);
    opened.push(...alone);
  }
  return opened;
}

async function openIn(store: string, flips: readonly (Flip | null)[], separate: boolean): Promise<Opened[]> {
  const program = join(import.meta.dirname, '../support/open-damaged.mjs');
  const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'ignore'] });
  child.stdin.end(JSON.stringify({ store, work: scratchFolder(), exports: ['disk', 'other'], flips, separate }));
  const lines = (await text(child.stdout)).split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as Opened);
}

/**
 * A flip in each page, in the number of its transaction. Such a page can be read, and ends a process that changes it.
 */
function headerFlips(content: Buffer): Flip[] {
  const pages = Array.from({ length: content.length / PAGE_BYTES - 2 }, (_, i) => (i + 2) * PAGE_BYTES);
  return pages.map((page) => ({ at: page + 15, bit: 1 }));
}

function randomFlip(content: Buffer, random: Random): Flip {
  for (;;) {
    const page = random.below(content.length / PAGE_BYTES) * PAGE_BYTES;
    if (content.subarray(page, page + PAGE_BYTES).every((byte) => byte === 0)) continue;
    return { at: page + random.below(random.chance(2) ? 128 : PAGE_BYTES), bit: random.below(8) };
  }
}

/** Says what a trusted bitmap has lost, or that its base is wrong. */
function wrongs(sound: Opened, found: Opened): string[] {
  if ('setAside' in sound) return ['the store without a flip was set aside'];
  if ('setAside' in found) return [];
  return sound.flatMap(({ exportName, bitmaps }, i) => {
    const { bitmaps: now, lost } = found[i]!;
    return bitmaps.flatMap(({ name, base, dirty }) => {
      const same = now.find((bitmap) => bitmap.name === name);
      if (!same) return lost === undefined ? [`${exportName} ${name} is gone without a word`] : [];
      if (same.inconsistent !== undefined) return [];
      const gone = missing(dirty, same.dirty).map(({ offset }) => `${exportName} ${name} lost ${offset}`);
      return same.base === base ? gone : [...gone, `${exportName} ${name} counts from ${same.base}, not ${base}`];
    });
  });
}

test.each(['SIGKILL', 'SIGTERM'] as const)(
  `a bit of the store that flips after %s never ends the process and is never missed (${flipRounds} flips)`,
  { timeout: 60_000 + flipRounds * 1000 },
  async (signal) => {
    const random = new Random(seed);
    const { state } = await leave(random, signal);
    const store = join(state, 'store');
    const content = readFileSync(join(store, 'data.mdb'));
    const some = Array.from({ length: flipRounds }, () => randomFlip(content, random));
    const flips = [null, ...headerFlips(content), ...some];
    const [sound, ...opened] = await openEach(store, flips);
    let trusted = 0;
    for (const [i, found] of opened.entries()) {
      expect(wrongs(sound!, found), `seed ${seed}, flip ${i}: ${JSON.stringify(flips[i + 1])}`).toEqual([]);
      if (Array.isArray(found))
        trusted += found.flatMap(({ bitmaps }) => bitmaps).filter((b) => !b.inconsistent).length;
    }
    expect(trusted).toBeGreaterThan(0);
    const aside = opened.filter((found) => 'setAside' in found).length;
    console.log(`seed ${seed}: of ${opened.length} stores ${aside} were set aside; ${trusted} bitmaps were trusted`);
  },
);
