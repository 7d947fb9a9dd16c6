import {
  EXPORT_NAME_PADDING_BYTES,
  InfoType,
  MAX_META_QUERIES,
  MAX_STRING_BYTES,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  OptionError,
} from './constants.js';
import {
  exportNameReplyLayout,
  infoBlockSizeLayout,
  infoExportLayout,
  optionLayout,
  optionReplyLayout,
} from './layouts.js';

/** Says why the data of an option is malformed or exceeds a limit. The client gets the error and the message. */
export class InvalidOption {
  constructor(
    readonly message: string,
    readonly error: OptionError = OptionError.INVALID,
  ) {}
}

export const OPTION_HEADER_BYTES = optionLayout.span;
const optionMagic = Buffer.from(OPTION_MAGIC);

/** Reads everything before the data of an option. Returns undefined when there is no option at `at`. */
export function decodeOptionHeader(buffer: Buffer, at: number): { option: number; length: number } | undefined {
  const { magic, option, length } = optionLayout.decode(buffer, at);
  return magic.equals(optionMagic) ? { option, length } : undefined;
}

/** The data of INFO and GO. */
export interface InfoRequest {
  readonly exportName: string;
  readonly infoTypes: readonly number[];
}

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export interface MetaContextRequest {
  readonly exportName: string;
  /** Without those that are not valid strings: such a query matches nothing. */
  readonly queries: readonly string[];
  readonly queryCount: number;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes a string of the protocol; undefined when the bytes are not a valid one (section "Conventions"). */
export function decodeString(bytes: Buffer): string | undefined {
  if (bytes.length > MAX_STRING_BYTES || bytes.includes(0)) return undefined;
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

const badName = new InvalidOption('the export name is too long or not valid UTF-8');

/** Reads the export name at the start of the data. `end` is where the rest begins. */
function decodeExportName(data: Buffer): { exportName: string; end: number } | InvalidOption {
  if (data.length < 4) return new InvalidOption('the option is too short to hold an export name');
  const end = 4 + data.readUInt32BE(0);
  if (end > data.length) return new InvalidOption('the export name is longer than the option');
  const exportName = decodeString(data.subarray(4, end));
  return exportName === undefined ? badName : { exportName, end };
}

export function decodeInfoRequest(data: Buffer): InfoRequest | InvalidOption {
  const name = decodeExportName(data);
  if (name instanceof InvalidOption) return name;
  const rest = data.subarray(name.end);
  if (rest.length < 2) return new InvalidOption('the option has no information request count');
  const count = rest.readUInt16BE(0);
  if (rest.length !== 2 + 2 * count)
    return new InvalidOption('the information request count does not match the length of the option');
  const infoTypes = Array.from({ length: count }, (_, i) => rest.readUInt16BE(2 + 2 * i));
  return { exportName: name.exportName, infoTypes };
}

export function decodeMetaContextRequest(data: Buffer): MetaContextRequest | InvalidOption {
  const name = decodeExportName(data);
  if (name instanceof InvalidOption) return name;
  let at = name.end;
  if (data.length - at < 4) return new InvalidOption('the option has no query count');
  const queryCount = data.readUInt32BE(at);
  at += 4;
  if (queryCount > MAX_META_QUERIES) {
    return new InvalidOption(`the option has more than ${MAX_META_QUERIES} queries`, OptionError.TOO_BIG);
  }
  const queries: string[] = [];
  for (let i = 0; i < queryCount; i++) {
    if (data.length - at < 4) return new InvalidOption('the option ends before its last query');
    const end = at + 4 + data.readUInt32BE(at);
    if (end > data.length) return new InvalidOption('a query is longer than the option');
    const query = decodeString(data.subarray(at + 4, end));
    if (query !== undefined) queries.push(query);
    at = end;
  }
  if (at !== data.length) return new InvalidOption('the option has data after its last query');
  return { exportName: name.exportName, queries, queryCount };
}

export function encodeOptionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const reply = Buffer.allocUnsafe(optionReplyLayout.span + data.length);
  optionReplyLayout.encode({ magic: OPTION_REPLY_MAGIC, option, type, length: data.length }, reply);
  data.copy(reply, optionReplyLayout.span);
  return reply;
}

export function encodeExportNameReply(size: number, flags: number, padded: boolean): Buffer {
  const reply = Buffer.alloc(exportNameReplyLayout.span + (padded ? EXPORT_NAME_PADDING_BYTES : 0));
  exportNameReplyLayout.encode({ size, flags }, reply);
  return reply;
}

export function encodeInfoExport(size: number, flags: number): Buffer {
  const info = Buffer.allocUnsafe(infoExportLayout.span);
  infoExportLayout.encode({ type: InfoType.EXPORT, size, flags }, info);
  return info;
}

/** Encodes an information reply whose body is text: NAME or DESCRIPTION. */
export function encodeInfoText(type: number, text: string): Buffer {
  const prefix = Buffer.allocUnsafe(2);
  prefix.writeUInt16BE(type);
  return Buffer.concat([prefix, Buffer.from(text)]);
}

export function encodeInfoBlockSize(minimum: number, preferred: number, maximum: number): Buffer {
  const info = Buffer.allocUnsafe(infoBlockSizeLayout.span);
  infoBlockSizeLayout.encode({ type: InfoType.BLOCK_SIZE, minimum, preferred, maximum }, info);
  return info;
}

function prefixed(number: number, text: string): Buffer {
  const prefix = Buffer.allocUnsafe(4);
  prefix.writeUInt32BE(number);
  return Buffer.concat([prefix, Buffer.from(text)]);
}

/** Encodes one export of a LIST reply: its name, then a description for people. */
export function encodeServerEntry(exportName: string, description: string): Buffer {
  return Buffer.concat([prefixed(Buffer.byteLength(exportName), exportName), Buffer.from(description)]);
}

export function encodeMetaContext(contextId: number, name: string): Buffer {
  return prefixed(contextId, name);
}
