import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import {
  type BitmapState,
  type Command,
  qemuSpeaker,
  type Speaker,
  tidemarkSpeaker,
} from '../support/bitmap-speakers.js';
import { controlOf } from '../support/control.js';
import { makeImage, type Range } from '../support/image.js';
import { makeDirtyImage } from '../support/nbd-peers.js';
import { startStorageDaemon } from '../support/qmp.js';
import { run } from '../support/run.js';
import { startTidemark } from '../support/tidemark.js';

/** Two disks of the same size, and one that ends within a granule. */
const sizes = { disk: 16 * MIB, twin: 16 * MIB, odd: 10 * MIB + 512 } as const;
type Disk = keyof typeof sizes;
const disks = Object.keys(sizes) as Disk[];

/** What a server is told: commands of qemu-io, one command, or several as a transaction. */
type Said = { readonly io: string; readonly disk: Disk } | Command | readonly Command[];
interface Step {
  readonly say: Said;
  /** The server must refuse it. */
  readonly refused?: true;
}

const io = (command: string, disk: Disk = 'disk'): Step => ({ say: { io: command, disk } });
const say = (command: Command): Step => ({ say: command });
const transact = (...commands: Command[]): Step => ({ say: commands });
const refused = ({ say }: Step): Step => ({ say, refused: true });

const on = (disk: string) => ({
  add: (name: string, options: { granularity?: number; disabled?: boolean; persistent?: boolean } = {}): Command => ({
    ...{ type: 'add', disk, name },
    ...options,
  }),
  remove: (name: string): Command => ({ type: 'remove', disk, name }),
  clear: (name: string): Command => ({ type: 'clear', disk, name }),
  enable: (name: string): Command => ({ type: 'enable', disk, name }),
  disable: (name: string): Command => ({ type: 'disable', disk, name }),
  merge: (name: string, ...sources: (string | { disk: Disk; name: string })[]): Command => ({
    ...{ type: 'merge', disk, name },
    sources: sources.map((source) => (typeof source === 'string' ? { disk, name: source } : source)),
  }),
});
const { add, remove, clear, enable, disable, merge } = on('disk');
const twin = on('twin');
const odd = on('odd');

const DONE = 'done';

/** A bitmap as its server describes it, and as an NBD client sees it. */
interface Seen extends BitmapState {
  readonly dirty: Range[];
}

/** The outcome of one step. */
interface Line {
  readonly said: Said;
  /** `DONE`, or the refusal. */
  readonly answer: string;
  /** All bitmaps after the step. */
  readonly bitmaps: Record<Disk, Seen[]>;
}

async function startBoth(): Promise<{ qemu: Speaker; tidemark: Speaker }> {
  const images = (disk: Disk) => makeImage(sizes[disk]);
  const nodes = disks.map((disk) => ({
    ...{ driver: 'file', 'node-name': disk, filename: images(disk), discard: 'unmap' },
  }));
  const [daemon, server] = await Promise.all([
    startStorageDaemon(...nodes),
    startTidemark(...disks.map((disk) => `${disk}=${images(disk)}`)),
  ]);
  return { qemu: await qemuSpeaker(daemon, disks), tidemark: tidemarkSpeaker(server, controlOf(server)) };
}

async function answerTo(speaker: Speaker, said: Said): Promise<string> {
  if ('io' in said) {
    await run('qemu-io', '-f', 'raw', '-c', said.io, speaker.uri(said.disk));
    return DONE;
  }
  const refusal = await ('type' in said ? speaker.take(said) : speaker.transact(said));
  return refusal ?? DONE;
}

/** Ordered by name, because QEMU lists the newest first. */
async function look(speaker: Speaker, disk: Disk): Promise<Seen[]> {
  const states = (await speaker.bitmaps(disk)).sort((a, b) => (a.name < b.name ? -1 : 1));
  if (states.length === 0) return [];
  const names = states.map(({ name }) => name);
  const dirty = await speaker.dirty(disk, names);
  return states.map((state, index) => ({ ...state, dirty: dirty[index]! }));
}

async function lookAtAll(speaker: Speaker): Promise<Record<Disk, Seen[]>> {
  const [disk, twin, odd] = await Promise.all([look(speaker, 'disk'), look(speaker, 'twin'), look(speaker, 'odd')]);
  return { disk, twin, odd };
}

async function hold(speaker: Speaker, steps: readonly Step[]): Promise<Line[]> {
  const lines: Line[] = [];
  for (const { say: said } of steps) {
    const answer = await answerTo(speaker, said);
    lines.push({ said, answer, bitmaps: await lookAtAll(speaker) });
  }
  return lines;
}

const conversations: Record<string, readonly Step[]> = {
  'what is recorded': [
    ...[say(add('a')), say(add('fine', { granularity: 512 })), say(add('coarse', { granularity: MIB }))],
    ...[say(add('off', { disabled: true })), say(add('whole', { granularity: sizes.disk }))],
    ...[io('write 0 1'), io('write 65535 2'), io('write -z 1M 64k'), io('write -z -u 3000001 70001')],
    ...[io('discard 5M 1M'), io('discard 7000064 100352'), io('read 8M 1M'), io('flush'), io('write -f 16777215 1')],
    ...[
      say(disable('a')),
      io('write 9M 1M'),
      say(disable('a')),
      say(enable('a')),
      io('write 12M 4k'),
      say(enable('a')),
    ],
    ...[say(clear('fine')), io('write 13M 512'), say(enable('off')), io('write 14M 512'), say(clear('off'))],
    ...[say(disable('coarse')), say(clear('coarse')), io('write 2M 512'), say(remove('fine')), say(add('fine'))],
  ],
  merging: [
    ...[say(add('a')), io('write 0 100k'), say(add('b')), say(disable('a')), io('write 1M 64k'), io('write 80k 64k')],
    ...[say(add('sum', { disabled: true })), say(merge('sum', 'a')), say(merge('sum', 'a', 'b')), say(merge('a', 'a'))],
    ...[say(add('fine', { granularity: 512 })), say(merge('fine', 'b')), io('write 3M 512'), say(merge('a', 'fine'))],
    ...[say(add('coarse', { granularity: MIB })), say(merge('coarse', 'fine', 'b')), say(merge('b', 'coarse'))],
    ...[say(twin.add('other')), io('write 15M 128k', 'twin'), say(merge('sum', { disk: 'twin', name: 'other' }))],
    ...[say(twin.merge('other', { disk: 'disk', name: 'coarse' }, 'other')), say(clear('a')), say(merge('a', 'sum'))],
    refused(say(merge('a', 'b', 'none'))),
    refused(say(merge('none', 'b'))),
  ],
  'the end of a disk that is within a granule': [
    ...[say(odd.add('a')), say(odd.add('fine', { granularity: 512 })), io('write 9M 1M', 'odd')],
    ...[say(odd.add('coarse', { granularity: 4 * MIB, disabled: true })), say(odd.clear('a'))],
  ],
  'what is refused': [
    ...[say(add('a')), io('write 1M 64k'), refused(say(add('a'))), refused(say(add('')))],
    ...[0, 1, 256, 511, 513, 1000, 65537].map((granularity) => refused(say(add('b', { granularity })))),
    ...[clear, enable, disable, remove].map((command) => refused(say(command('none')))),
    ...[say(disable('a')), say(remove('a')), refused(say(remove('a'))), refused(say(enable('a'))), say(add('a'))],
    ...[say(add('x'.repeat(1023))), say(add('huge', { granularity: 2 ** 31 }))],
  ],
  transactions: [
    ...[say(add('a')), say(add('b', { disabled: true })), io('write 0 64k')],
    ...[transact(clear('b'), enable('b'), disable('a')), io('write 1M 64k')],
    ...[transact(clear('a'), enable('a'), disable('b')), io('write 2M 64k')],
    transact(add('sum', { disabled: true }), merge('sum', 'a', 'b'), clear('a'), disable('a'), remove('b')),
    transact(add('c'), enable('c'), merge('c', 'sum'), clear('sum'), merge('sum', 'c'), remove('c')),
    ...[transact(disable('sum'), enable('sum'), disable('sum')), io('write 3M 64k'), say(enable('a'))],
    ...[transact(twin.add('a'), clear('sum'), twin.disable('a')), io('write 4M 1M', 'twin'), io('write 5M 1M')],
    transact(twin.enable('a'), merge('sum', 'a'), twin.merge('a', { disk: 'disk', name: 'sum' })),
  ],
  'transactions of which one action is refused': [
    ...[say(add('a')), io('write 0 64k'), say(add('b', { disabled: true })), say(twin.add('a'))],
    ...[io('write 1M 64k', 'twin')],
    refused(transact(clear('a'), clear('none'))),
    refused(transact(enable('b'), disable('a'), add('a'))),
    refused(transact(merge('b', 'a'), clear('a'), merge('b', 'none'))),
    refused(transact(add('c'), add('d', { disabled: true }), merge('c', 'a'), add('e', { granularity: 1000 }))),
    refused(transact(clear('a'), remove('a'), remove('none'))),
    refused(transact(add('c'), remove('c'), disable('a'), add(''))),
    refused(transact(twin.clear('a'), twin.disable('a'), clear('a'), twin.add('a'))),
    ...[io('write 2M 64k'), io('write 3M 64k', 'twin'), say(add('c'))],
  ],
};

test.each(Object.entries(conversations))('QEMU and tidemark say and record the same: %s', async (_title, steps) => {
  const { qemu, tidemark } = await startBoth();
  const [said, heard] = [await hold(qemu, steps), await hold(tidemark, steps)];
  expect(said.map(({ answer }) => answer !== DONE)).toEqual(steps.map((step) => step.refused === true));
  expect(said.at(-1)!.bitmaps).not.toEqual(said[0]!.bitmaps);
  for (const [index, line] of heard.entries()) expect(line).toEqual(said[index]);
});

/** The outcome of a deliberate difference: the answer to each step, and anything else that can be seen. */
interface Outcome {
  readonly answers: readonly string[];
  readonly seen?: unknown;
}

interface Difference {
  readonly what: string;
  /** Why tidemark differs. */
  readonly reason: string;
  /** Steps that have the same outcome in both. */
  readonly before?: readonly Step[];
  readonly steps: readonly Step[];
  /** The bitmaps of `disk` that are exported over NBD meanwhile. */
  readonly exported?: readonly string[];
  readonly see?: (speaker: Speaker) => Promise<unknown>;
  readonly qemu: Outcome;
  readonly tidemark: Outcome;
}

const longName = 'x'.repeat(1024);
const inUse = (name: string) => `Bitmap '${name}' is currently in use by another operation and cannot be used`;

const differences: Difference[] = [
  {
    what: 'a bitmap that is exported over NBD can be changed and removed',
    reason: 'every bitmap is always exported, so that none would ever be free; its clients see it change',
    before: [say(add('a')), say(add('b')), io('write 0 64k')],
    exported: ['a'],
    steps: [clear('a'), enable('a'), disable('a'), merge('a', 'b'), merge('b', 'a'), remove('a')].map(say),
    qemu: { answers: Array(6).fill(inUse('a')) },
    tidemark: { answers: Array(6).fill(DONE) },
  },
  {
    what: 'a bitmap of a raw image can be persistent',
    reason: 'bitmaps live in the state directory, not inside the image; it is what tidemark is for',
    steps: [say(add('a', { persistent: true }))],
    qemu: { answers: ["Can't store persistent bitmaps to disk: Operation not supported"] },
    tidemark: { answers: [DONE] },
  },
  {
    what: 'a name may be used again within the transaction that removes it',
    reason: 'each action sees what those before it did, as it would outside a transaction',
    before: [say(add('a')), io('write 0 64k')],
    steps: [transact(remove('a'), add('a'))],
    see: async (speaker) => (await look(speaker, 'disk')).map(({ dirtyBytes }) => dirtyBytes),
    qemu: { answers: ['Bitmap already exists: a'], seen: [64 * KIB] },
    tidemark: { answers: [DONE], seen: [0] },
  },
  {
    what: 'a bitmap that the transaction has removed is not there, rather than in use',
    reason: 'as above; refused all the same',
    before: [say(add('a')), say(add('b'))],
    steps: [transact(remove('a'), clear('a')), transact(remove('a'), merge('b', 'a'))],
    qemu: { answers: [inUse('a'), inUse('a')] },
    tidemark: { answers: ["Dirty bitmap 'a' not found", "Dirty bitmap 'a' not found"] },
  },
  {
    what: 'a transaction has at least one action',
    reason: 'a caller who sends none has lost them on the way',
    steps: [transact()],
    qemu: { answers: [DONE] },
    tidemark: { answers: ['body.actions must not have fewer than 1 items'] },
  },
  {
    what: 'an unknown disk is an export that is not there',
    reason: 'tidemark has exports, and no block nodes',
    steps: [say(on('none').add('a')), say(on('none').clear('a')), transact(on('none').remove('a'))],
    qemu: {
      answers: ["Cannot find device='none' nor node-name='none'", "Node 'none' not found", "Node 'none' not found"],
    },
    tidemark: { answers: Array(3).fill('there is no export "none"') },
  },
  {
    what: 'bitmaps of disks of different sizes are refused in other words',
    reason: 'the older words of QEMU, which hold for every incompatibility; the hint has the sizes',
    before: [say(add('a')), say(odd.add('b'))],
    steps: [say(merge('a', { disk: 'odd', name: 'b' }))],
    qemu: {
      answers: [
        `Bitmaps are of different sizes (destination size is ${sizes.disk}, source size is ${sizes.odd}) and can't be merged`,
      ],
    },
    tidemark: { answers: ["Bitmaps are incompatible and can't be merged"] },
  },
  {
    what: 'a name that is too long is not repeated in full',
    reason: 'a refusal stands in logs and on terminals',
    steps: [say(add(longName))],
    qemu: { answers: [`Bitmap name too long: ${longName}`] },
    tidemark: { answers: [`Bitmap name too long: ${longName.slice(0, 40)}…`] },
  },
  {
    what: 'a name has no control characters',
    reason: 'a name stands in metadata contexts, logs and terminals',
    steps: [say(add('a\nb'))],
    qemu: { answers: [DONE] },
    tidemark: { answers: ['Bitmap name contains a control character'] },
  },
  {
    what: 'a granularity above 2 GiB is refused in other words',
    reason: 'the limit and the words are those that QEMU has for persistent bitmaps, which is what ours are',
    steps: [say(add('a', { granularity: 2 ** 32 }))],
    qemu: { answers: ["Parameter 'granularity' expects uint32_t"] },
    tidemark: { answers: ['Granularity exceeds maximum (2147483648 bytes)'] },
  },
  {
    what: 'the last granule counts as far as the disk goes',
    reason: 'the count is the sum of the extents that a client is told of, which both cut at the end of the disk',
    before: [say(odd.add('a'))],
    steps: [io(`write ${sizes.odd - 1} 1`, 'odd')],
    see: async (speaker) => (await look(speaker, 'odd')).map(({ dirtyBytes, dirty }) => ({ dirtyBytes, dirty })),
    qemu: { answers: [DONE], seen: [{ dirtyBytes: 64 * KIB, dirty: [{ offset: 10 * MIB, length: 512 }] }] },
    tidemark: { answers: [DONE], seen: [{ dirtyBytes: 512, dirty: [{ offset: 10 * MIB, length: 512 }] }] },
  },
  {
    what: 'bitmaps are listed in the order in which they were added',
    reason: 'the order in which people expect them',
    steps: [say(add('b')), say(add('a')), say(add('c'))],
    see: async (speaker) => (await speaker.bitmaps('disk')).map(({ name }) => name),
    qemu: { answers: [DONE, DONE, DONE], seen: ['c', 'a', 'b'] },
    tidemark: { answers: [DONE, DONE, DONE], seen: ['b', 'a', 'c'] },
  },
];

async function outcomeWith(speaker: Speaker, { before = [], steps, exported, see }: Difference): Promise<Outcome> {
  for (const step of before) expect(await answerTo(speaker, step.say)).toBe(DONE);
  const answers: string[] = [];
  const takeAll = async () => {
    for (const step of steps) answers.push(await answerTo(speaker, step.say));
  };
  await (exported ? speaker.whileExported('disk', exported, takeAll) : takeAll());
  return see ? { answers, seen: await see(speaker) } : { answers };
}

async function removeAllBitmaps(speaker: Speaker): Promise<void> {
  for (const disk of disks) {
    for (const { name } of await speaker.bitmaps(disk))
      expect(await speaker.take(on(disk).remove(name))).toBeUndefined();
  }
}

test('tidemark differs from QEMU only on purpose', async () => {
  const { qemu, tidemark } = await startBoth();
  for (const difference of differences) {
    const title = `${difference.what} (${difference.reason})`;
    expect.soft(await outcomeWith(qemu, difference), `QEMU: ${title}`).toEqual(difference.qemu);
    expect.soft(await outcomeWith(tidemark, difference), `tidemark: ${title}`).toEqual(difference.tidemark);
    for (const speaker of [qemu, tidemark]) await removeAllBitmaps(speaker);
  }
});

/** QEMU after a crash. The image says that its bitmap was in use, so the writes since it was loaded are unknown. */
async function startQemuAfterCrash(): Promise<Speaker> {
  const { path, bitmap } = makeDirtyImage([{ offset: 0, length: 64 * KIB, pattern: 1 }]);
  expect(bitmap).toBe('nightly');
  const node = { driver: 'qcow2', 'node-name': 'disk', file: { driver: 'file', filename: path } };
  await (await startStorageDaemon(node)).stop('SIGKILL');
  return qemuSpeaker(await startStorageDaemon(node), ['disk']);
}

/** tidemark after another program wrote to the image. A crash alone makes none of its bitmaps inconsistent. */
async function startTidemarkAfterChange(): Promise<Speaker> {
  const image = makeImage(sizes.disk);
  const server = await startTidemark(`disk=${image},bitmap=nightly`);
  const control = controlOf(server);
  await control.call('DELETE', '/v1/exports/disk');
  await run('qemu-io', '-f', 'raw', '-c', 'write 1M 64k', image);
  await control.call('POST', '/v1/exports', { name: 'disk', path: image });
  return tidemarkSpeaker(server, control);
}

test('QEMU and tidemark refuse the same operations on an inconsistent bitmap', async () => {
  const speakers = [await startQemuAfterCrash(), await startTidemarkAfterChange()];
  const refusal = "Bitmap 'nightly' is inconsistent and cannot be used";
  for (const speaker of speakers) {
    const answers = async (...said: Said[]) => {
      const given: string[] = [];
      for (const one of said) given.push(await answerTo(speaker, one));
      return given;
    };
    expect(await speaker.bitmaps('disk')).toMatchObject([
      { name: 'nightly', granularityBytes: 64 * KIB, recording: false, busy: false, inconsistent: true },
    ]);
    expect(await answers(add('a'), add('nightly'))).toEqual([DONE, 'Bitmap already exists: nightly']);
    const needSound = [
      clear('nightly'),
      enable('nightly'),
      disable('nightly'),
      merge('nightly', 'a'),
      merge('a', 'nightly'),
    ];
    expect(await answers(...needSound)).toEqual(Array(needSound.length).fill(refusal));
    expect(await answers([clear('a'), clear('nightly')], [merge('a', 'nightly')])).toEqual([refusal, refusal]);
    expect(await answers(remove('nightly'), add('nightly'), clear('nightly'))).toEqual([DONE, DONE, DONE]);
    expect(await speaker.bitmaps('disk')).toContainEqual(
      expect.objectContaining({ name: 'nightly', inconsistent: false }),
    );
  }
});
