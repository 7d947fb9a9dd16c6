import { KIB } from '../../../src/base/units.js';
import * as nbd from '../../../src/protocol/constants.js';
import type { Random } from '../../support/random.js';
import { cutPoints, oddUint16, oddUint32, oddUint64 } from '../odd-values.js';
import { type FuzzDisk, fuzzDisks, HUGE, MODEL } from './disks.js';

const { Command, CommandFlag } = nbd;

export interface PlannedRequest {
  readonly command: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly length: number;
  /** Four random bytes that fill the payload of a write, and every unexpected payload. */
  readonly stamp: number;
  /** For block status: the IDs of contexts in the payload, which also has the length. */
  readonly contextIds?: readonly number[];
}

export interface PlannedClient {
  /** Replies come in chunks. */
  readonly structured: boolean;
  /** Headers are extended, and so replies are in chunks too. */
  readonly extended: boolean;
  readonly blockSizes: boolean;
  readonly contexts: boolean;
  /** The end of the handshake and the first requests are sent together. */
  readonly pipelined: boolean;
  /** Requests that are sent together. All are answered before the next wave. */
  readonly waves: readonly (readonly PlannedRequest[])[];
  /** Where the bytes of each wave are split, as fractions of its length. */
  readonly cuts: readonly (readonly number[])[];
}

/** How the clients of an iteration leave. */
type Ending = 'disconnect' | 'finish' | 'garbage' | 'half-request' | 'cut-wave' | 'unread';

export interface TransmissionPlan {
  readonly disk: FuzzDisk;
  /** Uses the view of a backup instead of the disk, if there is one. */
  readonly ofView: boolean;
  readonly clients: readonly PlannedClient[];
  readonly ending: Ending;
  readonly endingSeed: number;
  /** What happens to the bitmap of the disk afterwards. */
  readonly afterwards: 'nothing' | 'compare' | 'clear' | 'begin' | 'commit' | 'abort';
}

const CUT_PARTS = 1000;
const WIDE_LENGTHS = [2 ** 32, 2 ** 40, 2 ** 43, 2 ** 43 + 512, 2 ** 53 - 512];
/** For reads of at least this length a server reports the holes. */
const HOLE_BYTES = 64 * KIB;
const endings: readonly Ending[] = ['disconnect', 'finish', 'garbage', 'half-request', 'cut-wave', 'unread'];
/** Mostly commands that the server answers at once, so that more of them fit in the time. */
const commands = [
  ...Array.from({ length: 9 }, () => Command.READ),
  ...Array.from({ length: 7 }, () => Command.WRITE),
  ...[Command.WRITE_ZEROES, Command.TRIM, Command.CACHE, Command.BLOCK_STATUS],
];
const flagsOf: Record<number, readonly number[]> = {
  [Command.READ]: [0, 0, CommandFlag.DF],
  [Command.BLOCK_STATUS]: [0, CommandFlag.REQ_ONE],
  [Command.WRITE_ZEROES]: [0, 0, CommandFlag.NO_HOLE, CommandFlag.FAST_ZERO],
};

export function planTransmission(random: Random): TransmissionPlan {
  const disk = random.chance(5) ? random.pick(fuzzDisks) : MODEL;
  const clientCount = random.chance(3) ? 2 + random.below(3) : 1;
  const waveCount = 1 + random.below(4);
  return {
    disk,
    ofView: disk === MODEL && random.chance(4),
    clients: Array.from({ length: clientCount }, () => planClient(random, disk, waveCount)),
    ending: random.chance(2) ? 'disconnect' : random.pick(endings),
    endingSeed: random.below(2 ** 32),
    afterwards: random.chance(8) ? random.pick(['compare', 'compare', 'clear', 'begin', 'commit', 'abort']) : 'nothing',
  };
}

function planClient(random: Random, disk: FuzzDisk, waveCount: number): PlannedClient {
  const structured = !random.chance(4);
  const extended = structured && random.chance(2);
  return {
    structured,
    extended,
    blockSizes: random.chance(2),
    contexts: structured && random.chance(2),
    pipelined: random.chance(3),
    waves: Array.from({ length: waveCount }, () => planWave(random, disk, extended)),
    cuts: Array.from({ length: waveCount }, () => cutPoints(random, CUT_PARTS).map((part) => part / CUT_PARTS)),
  };
}

/**
 * A few large requests, some of medium size, or thousands of small ones, which test the most in the time. On the disk
 * that is one hole only large ones, because for these the hole is reported.
 */
function planWave(random: Random, disk: FuzzDisk, extended: boolean): PlannedRequest[] {
  const isLarge = disk === HUGE || random.chance(8);
  const isMass = !isLarge && !random.chance(3);
  const count = 1 + random.below(isLarge ? 12 : isMass ? 4000 : 200);
  const longest = 2 ** (isLarge ? 16 + random.below(6) : 9 + random.below(isMass ? 3 : 6));
  return Array.from({ length: count }, () => planRequest(random, disk, Math.min(disk.sizeBytes, longest), extended));
}

export function planRequest(random: Random, disk: FuzzDisk, longest: number, extended: boolean): PlannedRequest {
  const request = soundRequest(random, disk, longest);
  const planned = extended ? extend(random, request) : request;
  return random.chance(30) ? spoil(random, planned, extended) : planned;
}

/** What only a request with an extended header can say. */
function extend(random: Random, request: PlannedRequest): PlannedRequest {
  const { command, flags } = request;
  const withPayload = { ...request, flags: flags | CommandFlag.PAYLOAD_LEN };
  if (command === Command.WRITE) return random.chance(20) ? request : withPayload;
  if (command !== Command.BLOCK_STATUS || random.chance(2)) return request;
  return { ...withPayload, contextIds: random.pick([[1], [2], [1, 2], [2, 1], [1, 1], [0], [1, 9], []]) };
}

function soundRequest(random: Random, disk: FuzzDisk, longest: number): PlannedRequest {
  const command = random.chance(1500) ? Command.FLUSH : random.pick(commands);
  const unit = random.chance(10) ? 1 : 512;
  const length = command === Command.FLUSH ? 0 : Math.max(unit, random.below(longest / unit + 1) * unit);
  const last = (disk.sizeBytes - length) / unit;
  const place = disk === HUGE ? Math.floor((random.below(2 ** 32) / 2 ** 32) * last) : random.below(last + 1);
  // Large requests begin at few places, so that one reads the holes that another one has made.
  const at = length >= HOLE_BYTES ? Math.floor((place * unit) / HOLE_BYTES) * HOLE_BYTES : Math.floor(place) * unit;
  const offset = command === Command.FLUSH ? 0n : BigInt(at);
  const fua = random.chance(1500) ? CommandFlag.FUA : 0;
  const flags = random.pick(flagsOf[command] ?? [0]) | fua;
  return { command, flags, offset, length, stamp: random.below(2 ** 32) };
}

/** Changes one field. The length of a write stays the same, because its payload follows. */
function spoil(random: Random, request: PlannedRequest, extended: boolean): PlannedRequest {
  const kind = random.below(4);
  if (kind === 0) return { ...request, flags: oddUint16(random) };
  if (kind === 1) return { ...request, offset: oddUint64(random) };
  if (request.command === Command.WRITE) return { ...request, length: random.chance(2) ? 0 : request.length + 1 };
  const hasPayload = extended && (request.flags & CommandFlag.PAYLOAD_LEN) !== 0 && !request.contextIds;
  if (kind === 2 && !hasPayload) {
    return { ...request, length: extended && random.chance(2) ? random.pick(WIDE_LENGTHS) : oddUint32(random) };
  }
  const command = oddUint16(random);
  return command === Command.WRITE || command === Command.DISC ? request : { ...request, command };
}
