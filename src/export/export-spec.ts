import { CodedError } from '../base/coded-error.js';
import { parseSize } from '../base/units.js';
import { MAX_NAME_BYTES } from '../bitmap/bitmap-limits.js';
import { MIN_BLOCK_CHOICES, type MinBlockBytes, parseMinBlock } from './block-size.js';

export interface BitmapSpec {
  readonly name: string;
  readonly granularityBytes?: number;
}

/** The description of an export to be served. */
export interface ExportSpec {
  readonly name: string;
  /** A raw image or a block device. */
  readonly path: string;
  readonly description?: string;
  /** Creates a missing file with this size, sparse. Never changes an existing file. */
  readonly sizeBytes?: number;
  readonly readOnly?: boolean;
  /** Treats the image as raw. Without this, an image that looks like another format is refused unless served before. */
  readonly format?: 'raw';
  readonly minBlockBytes?: MinBlockBytes;
  readonly bitmaps?: readonly BitmapSpec[];
}

/** The longest string that the NBD protocol allows. */
const MAX_DESCRIPTION_BYTES = 4096;

export const EXPORT_GRAMMAR =
  'NAME=PATH[,size=SIZE][,readonly][,format=raw][,min-block=1|512|4096][,bitmap=BITMAP[:GRANULARITY]]...';

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

function parseSizeOption(value: string, option: string): number {
  return parseSize(value) ?? refuse(`"${value}" in ${option} is not a size such as 512M or 10G`);
}

function parseMinBlockOption(value: string, option: string): MinBlockBytes {
  return parseMinBlock(value) ?? refuse(`"${value}" in ${option} is not one of ${MIN_BLOCK_CHOICES.join(', ')}`);
}

function parseFormatOption(option: string): 'raw' {
  return option === 'format=raw' ? 'raw' : refuse(`${option} is not served: raw is the only format`);
}

/** Parses `BITMAP[:GRANULARITY]`; undefined when the granularity is not a size. */
export function parseBitmapSpec(text: string): BitmapSpec | undefined {
  const colon = text.lastIndexOf(':');
  if (colon < 0) return { name: text };
  const granularityBytes = parseSize(text.slice(colon + 1));
  return granularityBytes === undefined ? undefined : { name: text.slice(0, colon), granularityBytes };
}

function parseBitmapOption(option: string): BitmapSpec {
  const text = option.slice('bitmap='.length);
  const granularity = text.slice(text.lastIndexOf(':') + 1);
  return parseBitmapSpec(text) ?? refuse(`"${granularity}" in ${option} is not a size such as 64K`);
}

/**
 * Parses an export from the command line. A comma in PATH is doubled, as in QEMU's options.
 * @throws CodedError EXPORT_INVALID
 */
export function parseExportSpec(text: string): ExportSpec {
  const equals = text.indexOf('=');
  if (equals <= 0) refuse(`"${text}" names no path`);
  const name = text.slice(0, equals);
  const [path = '', ...options] = splitAtSingleCommas(text.slice(equals + 1));
  if (path === '') refuse(`"${text}" names no path`);

  let sizeBytes: number | undefined;
  let readOnly = false;
  let format: 'raw' | undefined;
  let minBlockBytes: MinBlockBytes | undefined;
  const bitmaps: BitmapSpec[] = [];
  for (const option of options) {
    if (option === 'readonly') readOnly = true;
    else if (option.startsWith('size=')) sizeBytes = parseSizeOption(option.slice('size='.length), option);
    else if (option.startsWith('format=')) format = parseFormatOption(option);
    else if (option.startsWith('min-block='))
      minBlockBytes = parseMinBlockOption(option.slice('min-block='.length), option);
    else if (option.startsWith('bitmap=')) bitmaps.push(parseBitmapOption(option));
    else refuse(`"${option}" is not an option of an export`);
  }
  return {
    ...{ name, path, readOnly, bitmaps },
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(format !== undefined && { format }),
    ...(minBlockBytes !== undefined && { minBlockBytes }),
  };
}

/** Splits at single commas; a doubled comma stands for a comma. */
function splitAtSingleCommas(text: string): string[] {
  const doubled = '\0';
  return text
    .replaceAll(',,', doubled)
    .split(',')
    .map((part) => part.replaceAll(doubled, ','));
}
