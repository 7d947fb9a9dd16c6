import type { BitmapSpec, ExportSpec } from '../api/export.js';
import { minBlockChoices } from '../api/values.js';
import { CodedError } from '../base/coded-error.js';
import {
  choice,
  Given,
  onOff,
  path,
  readOption,
  readSize,
  repeated,
  type Setting,
  size,
  splitAtSingleCommas,
  text,
} from '../base/setting.js';
import { parseSize } from '../base/units.js';
import { MAX_NAME_BYTES } from '../bitmap/bitmap-limits.js';

/** The options of an export on the command line. */
const options = {
  size: size('SIZE', 'a size such as "512M" or "10G"'),
  readonly: onOff(),
  format: { ...choice('raw', ['raw']), expected: '"raw", the only format' },
  'min-block': {
    argument: minBlockChoices.join('|'),
    repeated: false,
    expected: `one of ${minBlockChoices.join(', ')}`,
    read: (given: unknown) => minBlockChoices.find((choice) => choice === readSize(given)),
  },
  tls: { ...choice('required', ['required']), expected: '"required"' },
  bitmap: repeated(
    text('BITMAP[:GRANULARITY]', 'a bitmap such as "nightly" or "weekly:1M"', (given) => parseBitmapSpec(given)),
  ),
};

/** The keys of an export in the configuration file. */
export const exportKeys = {
  name: text('NAME', 'text in quotes', (given) => given || undefined),
  path: path('PATH'),
  description: text('TEXT', 'text in quotes', (given) => given || undefined),
  ...options,
};

/** The longest string that the NBD protocol allows. */
const MAX_DESCRIPTION_BYTES = 4096;

export const EXPORT_GRAMMAR = `NAME=PATH${Object.entries(options).map(grammarOf).join('')}`;

function grammarOf([key, { argument, repeated: many }]: [string, Setting<unknown>]): string {
  return `[,${key}${argument === undefined ? '' : `=${argument}`}]${many ? '...' : ''}`;
}

/** Parses `BITMAP[:GRANULARITY]`; undefined when the granularity is not a size. */
function parseBitmapSpec(given: string): BitmapSpec | undefined {
  const colon = given.lastIndexOf(':');
  if (colon < 0) return { name: given };
  const granularityBytes = parseSize(given.slice(colon + 1));
  return granularityBytes === undefined ? undefined : { name: given.slice(0, colon), granularityBytes };
}

/** The export with these settings; undefined if it has no name or no path. */
export function exportOf(given: Given<typeof exportKeys>): ExportSpec | undefined {
  const [name, imagePath] = [given.last('name'), given.last('path')];
  if (name === undefined || imagePath === undefined) return undefined;
  const description = given.last('description');
  const sizeBytes = given.last('size');
  const format = given.last('format');
  const minBlockBytes = given.last('min-block');
  const tls = given.last('tls');
  return {
    name,
    path: imagePath,
    readOnly: given.last('readonly') ?? false,
    bitmaps: given.all('bitmap'),
    ...(description !== undefined && { description }),
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(format !== undefined && { format }),
    ...(minBlockBytes !== undefined && { minBlockBytes }),
    ...(tls !== undefined && { tls }),
  };
}

/**
 * Parses an export from the command line. A comma in PATH is doubled, as in QEMU's options.
 * @throws CodedError EXPORT_INVALID
 */
export function parseExportSpec(spec: string): ExportSpec {
  const equals = Math.max(spec.indexOf('='), 0);
  const given = new Given(exportKeys);
  given.read('name', spec.slice(0, equals));
  const [imagePath, ...written] = splitAtSingleCommas(spec.slice(equals + 1));
  given.read('path', imagePath);
  for (const option of written) {
    const problem = readOption(given, options, option, 'an export');
    if (problem !== undefined) refuse(problem);
  }
  return exportOf(given) ?? refuse(`"${spec}" names no path`);
}

function refuse(what: string): never {
  throw new CodedError('EXPORT_INVALID', what, `an export is written ${EXPORT_GRAMMAR}`);
}

/** Checks that name and description can be sent to clients. @throws CodedError EXPORT_INVALID */
export function checkTexts({ name, description = '' }: ExportSpec): void {
  const invalid = (what: string, hint: string): never => {
    throw new CodedError('EXPORT_INVALID', what, hint);
  };
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    invalid(`the export name ${name.slice(0, 40)}… is too long`, `a name has at most ${MAX_NAME_BYTES} bytes`);
  }
  if (/\p{Cc}/u.test(name)) invalid('the export name contains a control character', 'choose a printable name');
  if (Buffer.byteLength(description) > MAX_DESCRIPTION_BYTES) {
    invalid(`the description of "${name}" is too long`, `it has at most ${MAX_DESCRIPTION_BYTES} bytes`);
  }
  if (description.includes('\0')) invalid(`the description of "${name}" has a NUL`, 'leave it out');
}
