import { parseSize } from './units.js';

/** One thing that a user can set: an option of a command, or a key of the configuration file. */
export interface Setting<Value> {
  /** The placeholder of the value in help texts. Undefined for a switch. */
  readonly argument: string | undefined;
  /** Whether it may be given several times. */
  readonly repeated: boolean;
  /** Describes a valid value; messages put it after "expected". */
  readonly expected: string;
  /** Reads the text of an option, or a value of the file. A switch is `true` or `false`. Undefined: it is invalid. */
  readonly read: (given: unknown) => Value | undefined;
}

/** Settings by name. */
export type Schema = Readonly<Record<string, Setting<unknown>>>;

type ValueOf<One extends Setting<unknown>> = NonNullable<ReturnType<One['read']>>;

/** A setting that is always written as text. */
export function text<Value>(
  argument: string,
  expected: string,
  parse: (text: string) => Value | undefined,
): Setting<Value> {
  const read = (given: unknown) => (typeof given === 'string' ? parse(given) : undefined);
  return { argument, repeated: false, expected, read };
}

export function path(argument: string): Setting<string> {
  return text(argument, 'a path', (given) => given || undefined);
}

export function choice<const Name extends string>(argument: string, names: readonly Name[]): Setting<Name> {
  return text(argument, `one of ${names.join(', ')}`, (given) => names.find((name) => name === given));
}

export function whole(argument: string, least: number, most: number): Setting<number> {
  return {
    argument,
    repeated: false,
    expected: `a whole number from ${least} to ${most}`,
    read: (given) => {
      const value = typeof given === 'string' && /^\d+$/.test(given) ? Number(given) : given;
      return isWhole(value) && value >= least && value <= most ? value : undefined;
    },
  };
}

export function size(argument: string, expected: string, isValid = (_bytes: number) => true): Setting<number> {
  const read = (given: unknown) => {
    const bytes = readSize(given);
    return bytes !== undefined && isValid(bytes) ? bytes : undefined;
  };
  return { argument, repeated: false, expected, read };
}

/** Reads bytes from a number, or from text such as `64K`. */
export function readSize(given: unknown): number | undefined {
  const bytes = typeof given === 'string' ? parseSize(given) : given;
  return isWhole(bytes) ? bytes : undefined;
}

export function onOff(): Setting<boolean> {
  const read = (given: unknown) => (typeof given === 'boolean' ? given : undefined);
  return { argument: undefined, repeated: false, expected: 'true or false', read };
}

export function repeated<Value>(one: Setting<Value>): Setting<Value> {
  return { ...one, repeated: true };
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The values that were given for the settings of a schema. */
export class Given<Known extends Schema> {
  private readonly values = new Map<keyof Known, unknown[]>();

  constructor(readonly schema: Known) {}

  knows(key: string): key is keyof Known & string {
    return Object.hasOwn(this.schema, key);
  }

  /** Adds a value as the user wrote it. False if it is invalid. */
  read<Key extends keyof Known>(key: Key, given: unknown): boolean {
    const value = this.schema[key]!.read(given) as ValueOf<Known[Key]> | undefined;
    if (value !== undefined) this.add(key, value);
    return value !== undefined;
  }

  add<Key extends keyof Known>(key: Key, value: ValueOf<Known[Key]>): void {
    this.values.set(key, [...(this.values.get(key) ?? []), value]);
  }

  has(key: keyof Known): boolean {
    return this.values.has(key);
  }

  /** In the order in which they were added. */
  all<Key extends keyof Known>(key: Key): ValueOf<Known[Key]>[] {
    return (this.values.get(key) ?? []) as ValueOf<Known[Key]>[];
  }

  /** The last one counts for settings that are not repeated. */
  last<Key extends keyof Known>(key: Key): ValueOf<Known[Key]> | undefined {
    return this.all(key).at(-1);
  }
}

/** Splits at single commas; a doubled comma stands for a comma. */
export function splitAtSingleCommas(list: string): string[] {
  const doubled = '\0';
  return list
    .replaceAll(',,', doubled)
    .split(',')
    .map((part) => part.replaceAll(doubled, ','));
}

/**
 * Reads `KEY=VALUE`, or `KEY` for a switch, where the key is one of `allowed`. Returns what is wrong with it; undefined if
 * nothing is. `owner` says what has these options.
 */
export function readOption<Known extends Schema>(
  given: Given<Known>,
  allowed: Schema,
  option: string,
  owner: string,
): string | undefined {
  const [, key = '', value] = /^([^=]*)(?:=(.*))?$/s.exec(option)!;
  const setting = Object.hasOwn(allowed, key) ? allowed[key] : undefined;
  if (!setting || (value === undefined) !== (setting.argument === undefined)) {
    return `"${option}" is not an option of ${owner}`;
  }
  return given.read(key, value ?? true) ? undefined : `"${value}" in ${option} is not ${setting.expected}`;
}
