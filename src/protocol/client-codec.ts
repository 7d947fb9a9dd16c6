import { writeUInt64 } from '../base/big-endian.js';
import { Command, CommandFlag, EXTENDED_REQUEST_MAGIC, OPTION_MAGIC, REQUEST_MAGIC } from './constants.js';
import {
  clientFlagsLayout,
  contextIdLayout,
  extendedRequestLayout,
  infoBlockSizeLayout,
  infoExportLayout,
  optionLayout,
  requestLayout,
  statusPayloadLayout,
} from './layouts.js';
import { decodeString } from './option-codec.js';
import type { ReplyForm } from './reply-form.js';
import {
  REQUEST_COMMAND_AT,
  REQUEST_COOKIE_AT,
  REQUEST_FLAGS_AT,
  REQUEST_LENGTH_AT,
  REQUEST_OFFSET_AT,
} from './request.js';

/**
 * Messages as a client sends and receives them: the opposite direction of option-codec.ts and reply-codec.ts. A decoder
 * returns undefined when the data is malformed.
 */

const optionMagic = Buffer.from(OPTION_MAGIC);

export function encodeClientFlags(flags: number): Buffer {
  const bytes = Buffer.allocUnsafe(clientFlagsLayout.span);
  clientFlagsLayout.encode({ flags }, bytes);
  return bytes;
}

export function encodeOption(option: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.allocUnsafe(optionLayout.span + data.length);
  optionLayout.encode({ magic: optionMagic, option, length: data.length }, bytes);
  data.copy(bytes, optionLayout.span);
  return bytes;
}

function uint16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A string with its length in front. */
function counted(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

/** The data of INFO and GO. */
export function encodeInfoRequest(exportName: string, infoTypes: readonly number[]): Buffer {
  return Buffer.concat([counted(exportName), uint16(infoTypes.length), ...infoTypes.map(uint16)]);
}

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function encodeMetaContextRequest(exportName: string, queries: readonly string[]): Buffer {
  return Buffer.concat([counted(exportName), uint32(queries.length), ...queries.map(counted)]);
}

export interface RequestHeader {
  readonly command: number;
  readonly flags: number;
  /** An integer up to 2^53-1. The server returns it unchanged. */
  readonly cookie: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * Encodes a request without its payload, for a connection whose replies have that form. It writes field by field, because
 * a layout takes several times as long.
 */
export function encodeRequest({ command, flags, cookie, offset, length }: RequestHeader, replies: ReplyForm): Buffer {
  const isExtended = replies === 'extended';
  const bytes = Buffer.allocUnsafe(isExtended ? extendedRequestLayout.span : requestLayout.span);
  const payloadFlag = isExtended && command === Command.WRITE ? CommandFlag.PAYLOAD_LEN : 0;
  bytes.writeUInt32BE(isExtended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(flags | payloadFlag, REQUEST_FLAGS_AT);
  bytes.writeUInt16BE(command, REQUEST_COMMAND_AT);
  writeUInt64(bytes, REQUEST_COOKIE_AT, cookie);
  writeUInt64(bytes, REQUEST_OFFSET_AT, offset);
  if (isExtended) writeUInt64(bytes, REQUEST_LENGTH_AT, length);
  else bytes.writeUInt32BE(length, REQUEST_LENGTH_AT);
  return bytes;
}

/** The payload of a BLOCK_STATUS request for `length` bytes in some of the selected contexts. */
export function encodeStatusPayload(length: number, contextIds: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(statusPayloadLayout.span + contextIds.length * contextIdLayout.span);
  statusPayloadLayout.encode({ length }, bytes);
  contextIds.forEach((contextId, index) => {
    contextIdLayout.encode({ contextId }, bytes, statusPayloadLayout.span + index * contextIdLayout.span);
  });
  return bytes;
}

export interface ServerEntry {
  readonly exportName: string;
  readonly description: string;
}

/** Decodes one export of a LIST reply. */
export function decodeServerEntry(data: Buffer): ServerEntry | undefined {
  if (data.length < 4) return undefined;
  const nameEnd = 4 + data.readUInt32BE(0);
  if (nameEnd > data.length) return undefined;
  const exportName = decodeString(data.subarray(4, nameEnd));
  const description = decodeString(data.subarray(nameEnd));
  return exportName === undefined || description === undefined ? undefined : { exportName, description };
}

export interface MetaContext {
  readonly contextId: number;
  readonly name: string;
}

export function decodeMetaContext(data: Buffer): MetaContext | undefined {
  if (data.length < 4) return undefined;
  const name = decodeString(data.subarray(4));
  return name === undefined ? undefined : { contextId: data.readUInt32BE(0), name };
}

/** The type of information in an INFO reply. */
export function decodeInfoType(data: Buffer): number | undefined {
  return data.length < 2 ? undefined : data.readUInt16BE(0);
}

/** A `size` above 2^53 is not exact. */
export function decodeInfoExport(data: Buffer): { size: number; flags: number } | undefined {
  return data.length === infoExportLayout.span ? infoExportLayout.decode(data) : undefined;
}

export interface BlockSizes {
  readonly minimum: number;
  readonly preferred: number;
  /** The longest payload, in bytes. */
  readonly maximum: number;
}

export function decodeInfoBlockSize(data: Buffer): BlockSizes | undefined {
  return data.length === infoBlockSizeLayout.span ? infoBlockSizeLayout.decode(data) : undefined;
}
