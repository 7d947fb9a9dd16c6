import type { Random } from '../../support/random.js';
import { oddUint32 } from '../odd-values.js';

/** The part of JSON Schema that docs/openapi.json uses. */
export interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly minItems?: number;
  readonly minimum?: number;
}

const ODD: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1.5, 1e308, 2 ** 53, '', 'x', [], [[]], {}, { a: 1 }, '\0', '\u001b[2J', '../..'],
  ...['__proto__', { __proto__: null, constructor: 1 }, 'y'.repeat(5000), Array(1001).fill(1)],
];
/** Not terabytes: bitmaps of hundreds of megabytes are allowed, but are not of interest here. */
const SIZES = [0, 1, 511, 512, 4096, 65_536, 2 ** 20, 2 ** 21, 2 ** 31, Number.MAX_SAFE_INTEGER];
const MAX_ITEMS = 4;

/** Names to choose from, so that requests find what other requests made. */
export type Names = Readonly<Record<string, readonly string[]>>;

/** A value of the schema, and now and then one that does not fit it. */
export function sample(random: Random, schema: Schema, names: Names, key = ''): unknown {
  if (random.chance(40)) return random.pick(ODD);
  if (schema.enum) return random.pick(schema.enum);
  if (schema.const !== undefined) return schema.const;
  if (schema.anyOf) return sample(random, random.pick(schema.anyOf), names, key);
  switch (schema.type) {
    case 'object':
      return sampleObject(random, schema, names);
    case 'array': {
      const count = (schema.minItems ?? 0) + random.below(MAX_ITEMS);
      return Array.from({ length: count }, () => sample(random, schema.items ?? {}, names, key));
    }
    case 'integer':
    case 'number':
      return random.chance(6) ? oddUint32(random) : random.pick(SIZES);
    case 'boolean':
      return random.chance(2);
    default:
      return random.pick(names[key] ?? names['']!);
  }
}

function sampleObject(random: Random, { properties = {}, required = [] }: Schema, names: Names): object {
  const entries: [string, unknown][] = [];
  for (const [key, schema] of Object.entries(properties)) {
    const isNeeded = required.includes(key) ? !random.chance(40) : random.chance(3);
    if (isNeeded) entries.push([key, sample(random, schema, names, key)]);
  }
  if (random.chance(40)) entries.push([random.pick(['surplus', '__proto__', '']), random.pick(ODD)]);
  return Object.fromEntries(entries);
}
