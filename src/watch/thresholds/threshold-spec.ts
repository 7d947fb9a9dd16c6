import { Glob } from '../../access/glob.js';
import { type RoomPlace, roomPlaces, thresholdKinds } from '../../api/values.js';
import { CodedError } from '../../base/coded-error.js';
import {
  choice,
  Given,
  readOption,
  repeated,
  type Setting,
  size,
  splitAtSingleCommas,
  text,
  whole,
} from '../../base/setting.js';
import { parseSeconds } from '../../base/units.js';

const seconds: Setting<number> = text(
  'TIME',
  'a time such as 90m, 26h or 7d',
  (given) => parseSeconds(given) || undefined,
);

/** The options of a threshold on the command line. */
const options = {
  name: text('NAME', 'a name of letters, digits, dots, hyphens and underscores', (given) =>
    /^[\w.-]{1,64}$/.test(given) ? given : undefined,
  ),
  exports: repeated(
    text('PATTERN', 'a pattern for the names of exports, such as "vm*"', (given) =>
      given === '' ? undefined : new Glob(given),
    ),
  ),
  bitmap: text('BITMAP', 'the name of a bitmap', (given) => given || undefined),
  size: size('SIZE', 'a size such as 10G', (bytes) => bytes > 0),
  share: whole('PERCENT', 1, 100),
  age: seconds,
  of: choice('PLACE', roomPlaces),
};

/** The keys of a threshold in the configuration file. */
export const thresholdKeys = { kind: choice('KIND', thresholdKinds), ...options };

export const THRESHOLD_GRAMMAR =
  'KIND[,name=NAME][,exports=PATTERN]...[,bitmap=BITMAP][,size=SIZE|share=PERCENT][,age=TIME][,of=PLACE]';

interface Named {
  readonly name: string;
  readonly exports: readonly Glob[];
}

export interface DirtyThreshold extends Named {
  readonly kind: 'dirty';
  readonly bitmap: string;
  /** Bytes, or per cent of the size of the disk. */
  readonly limit: { readonly bytes: number } | { readonly percent: number };
}

export interface AgeThreshold extends Named {
  readonly kind: 'backup-age';
  readonly bitmap: string;
  readonly ageSeconds: number;
}

export interface RoomThreshold extends Named {
  readonly kind: 'room';
  readonly of: RoomPlace;
  readonly bytes: number;
}

/** When to tell: too much is dirty, the last backup is too old, or there is too little room. */
export type ThresholdSpec = DirtyThreshold | AgeThreshold | RoomThreshold;

/** What each kind needs; it takes nothing else but a name. */
const needs = {
  dirty: 'a dirty threshold needs a bitmap, and a size or a share; it can have exports',
  'backup-age': 'a backup-age threshold needs a bitmap and an age; it can have exports',
  room: 'a room threshold needs a size and of; with of=disk it can have exports',
} as const;

type GivenThreshold = Given<typeof thresholdKeys>;

/** The threshold with these settings, or what is wrong with them. */
export function thresholdOf(given: GivenThreshold): ThresholdSpec | string {
  const kind = given.last('kind');
  if (kind === undefined) return 'kind is missing';
  const named = {
    name: given.last('name') ?? kind,
    exports: given.has('exports') ? given.all('exports') : [new Glob('*')],
  };
  const made = { dirty: dirtyOf, 'backup-age': ageOf, room: roomOf }[kind](given, named);
  return made ?? needs[kind];
}

/** Parses a threshold from the command line. A comma in a value is doubled. @throws CodedError CONFIG_INVALID */
export function parseThresholdSpec(spec: string): ThresholdSpec {
  const given: GivenThreshold = new Given(thresholdKeys);
  const [kind, ...written] = splitAtSingleCommas(spec);
  if (!given.read('kind', kind)) refuse(`"${kind}" is not ${thresholdKeys.kind.expected}`);
  for (const option of written) {
    const problem = readOption(given, options, option, 'a threshold');
    if (problem !== undefined) refuse(problem);
  }
  const threshold = thresholdOf(given);
  return typeof threshold === 'string' ? refuse(threshold) : threshold;
}

function dirtyOf(given: GivenThreshold, named: Named): DirtyThreshold | undefined {
  const [bitmap, bytes, percent] = [given.last('bitmap'), given.last('size'), given.last('share')];
  if (bitmap === undefined || (bytes === undefined) === (percent === undefined)) return undefined;
  if (given.has('age') || given.has('of')) return undefined;
  return { kind: 'dirty', ...named, bitmap, limit: bytes === undefined ? { percent: percent! } : { bytes } };
}

function ageOf(given: GivenThreshold, named: Named): AgeThreshold | undefined {
  const [bitmap, ageSeconds] = [given.last('bitmap'), given.last('age')];
  if (bitmap === undefined || ageSeconds === undefined) return undefined;
  if (given.has('size') || given.has('share') || given.has('of')) return undefined;
  return { kind: 'backup-age', ...named, bitmap, ageSeconds };
}

function roomOf(given: GivenThreshold, named: Named): RoomThreshold | undefined {
  const [of, bytes] = [given.last('of'), given.last('size')];
  if (of === undefined || bytes === undefined || (of !== 'disk' && given.has('exports'))) return undefined;
  if (given.has('bitmap') || given.has('share') || given.has('age')) return undefined;
  return { kind: 'room', ...named, of, bytes };
}

function refuse(what: string): never {
  throw new CodedError('CONFIG_INVALID', what, `a threshold is written ${THRESHOLD_GRAMMAR}`);
}
