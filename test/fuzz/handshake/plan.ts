import { Option, OptionError, OptionReply } from '../../../src/protocol/constants.js';
import type { Random } from '../../support/random.js';
import { encodeOption, infoData, metaData } from '../../support/raw-client.js';
import { cutPoints, mutate, oddUint16, oddUint32, randomBytes } from '../odd-values.js';

export interface PlannedOption {
  readonly option: number;
  readonly bytes: Buffer;
  /** The possible types of its last reply; undefined if the stream is broken from here on. */
  readonly endsWith: readonly number[] | undefined;
  /** The export that it names, unless its data was changed. */
  readonly exportName?: string;
}

export interface HandshakePlan {
  readonly clientFlags: number;
  readonly options: readonly PlannedOption[];
  readonly cuts: readonly number[];
}

const { ACK } = OptionReply;
const { UNSUP, POLICY, INVALID, UNKNOWN, TOO_BIG, EXT_HEADER_REQD, TLS_REQD } = OptionError;
/** Any answer except that of a server that is stopping. */
const ANY = [ACK, UNSUP, POLICY, INVALID, UNKNOWN, TOO_BIG, EXT_HEADER_REQD, TLS_REQD];
const CLIENTS = 24;
const SOUND_FLAGS = 3;
/** At least this many options are answered in one handshake. */
const MAX_OPTIONS = 30;
const LONG = 'x'.repeat(4096);
const names = ['model', 'tiny', 'odd', 'huge', '', 'none', 'model@none', 'ünï', LONG, `${LONG}x`, 'nul\0nul'];
const contextQueries = [
  ...['base:allocation', 'qemu:dirty-bitmap:nightly', 'qemu:dirty-bitmap:', 'qemu:', 'base:', 'tidemark:overwritten'],
  'qemu:allocation-depth',
  ...['', ':', 'x:y', 'qemu:dirty-bitmap:none', LONG, `base:${LONG}`],
];
export const lastOptions: readonly number[] = [Option.GO, Option.EXPORT_NAME, Option.ABORT];

type NameOf = (random: Random) => string;

const nameOf: NameOf = (random) => random.pick(random.chance(3) ? names : ['model', 'tiny']);

/** Several clients at the same time. */
export function planHandshakes(random: Random): HandshakePlan[] {
  return Array.from({ length: CLIENTS }, () => planHandshake(random));
}

function planHandshake(random: Random): HandshakePlan {
  const clientFlags = random.chance(12) ? random.pick([0, 1, 2, 4, 7, oddUint32(random)]) : SOUND_FLAGS;
  const options = planOptions(random, MAX_OPTIONS, nameOf);
  const bytes = options.reduce((sum, option) => sum + option.bytes.length, 4);
  return { clientFlags, options, cuts: cutPoints(random, bytes) };
}

/** Fewer options than `limit`, and at the end one that ends the handshake. */
export function planOptions(random: Random, limit: number, name: NameOf): PlannedOption[] {
  const options: PlannedOption[] = [];
  for (let count = random.below(limit); count > 0; count--) {
    options.push(planOption(random, name));
    if (lastOptions.includes(options.at(-1)!.option)) return options;
  }
  return [...options, soundOption(random, random.pick(lastOptions), name)];
}

function planOption(random: Random, name: NameOf): PlannedOption {
  const kinds = [3, 6, 6, 6, 8, 9, 9, 10, 10, 4, 5, 11, 12, oddUint32(random)];
  const sound = soundOption(random, random.chance(40) ? random.pick(lastOptions) : random.pick(kinds), name);
  // STARTTLS without data would begin TLS.
  return random.chance(6) && sound.option !== Option.STARTTLS ? spoil(random, sound) : sound;
}

function soundOption(random: Random, option: number, pickName: NameOf): PlannedOption {
  const name = pickName(random);
  const many = Array.from({ length: random.below(5) });
  if (option === Option.EXPORT_NAME) return whole(option, Buffer.from(name), [], name);
  if (option === Option.INFO || option === Option.GO) {
    const types = many.map(() => (random.chance(4) ? oddUint16(random) : random.below(4)));
    return whole(option, infoData(name, types), [ACK, TLS_REQD, INVALID], name);
  }
  if (option === Option.LIST_META_CONTEXT || option === Option.SET_META_CONTEXT) {
    const queries = many.map(() => random.pick(contextQueries));
    return whole(option, metaData(name, queries), [ACK, UNKNOWN, INVALID, TOO_BIG], name);
  }
  if (option === Option.LIST) return whole(option, Buffer.alloc(0), [ACK]);
  if (option === Option.STRUCTURED_REPLY) return whole(option, Buffer.alloc(0), [ACK, INVALID, EXT_HEADER_REQD]);
  if (option === Option.EXTENDED_HEADERS) return whole(option, Buffer.alloc(0), [ACK, INVALID]);
  if (option === Option.ABORT) return whole(option, Buffer.alloc(random.below(9)), [ACK]);
  if (option === Option.STARTTLS) return whole(option, randomBytes(random, 1 + random.below(40)), [INVALID]);
  return whole(option, randomBytes(random, random.below(40)), [UNSUP, POLICY, INVALID]);
}

function whole(option: number, data: Buffer, endsWith: readonly number[], exportName?: string): PlannedOption {
  const bytes = encodeOption(option, data);
  return { option, bytes, endsWith, ...(exportName !== undefined && { exportName }) };
}

/** Other data of the same length, a wrong length, or a wrong header. The plan ends where the stream is broken. */
function spoil(random: Random, { option, bytes }: PlannedOption): PlannedOption {
  const data = bytes.subarray(16);
  const kind = random.below(8);
  if (option !== Option.EXPORT_NAME && kind < 5) return whole(option, mutate(random, data), ANY);
  if (kind < 7) return { option, bytes: encodeOption(option, data, oddUint32(random)), endsWith: undefined };
  return { option, bytes: mutate(random, bytes), endsWith: undefined };
}
