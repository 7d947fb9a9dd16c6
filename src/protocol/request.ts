import { readInt32, readUInt64 } from '../base/big-endian.js';
import { Command, REQUEST_MAGIC } from './constants.js';
import { fieldOffset, requestLayout } from './layouts.js';

export const REQUEST_BYTES = requestLayout.span;
const FLAGS_AT = fieldOffset(requestLayout, 'flags');
const COMMAND_AT = fieldOffset(requestLayout, 'command');
const COOKIE_AT = fieldOffset(requestLayout, 'cookie');
const OFFSET_AT = fieldOffset(requestLayout, 'offset');
const LENGTH_AT = fieldOffset(requestLayout, 'length');

/**
 * The 8 bytes that identify a request to its client, as two signed numbers: V8 keeps those without allocating. They are
 * sent back and never interpreted.
 */
export interface Cookie {
  readonly cookieHigh: number;
  readonly cookieLow: number;
}

/**
 * A request without its payload. One record is filled again for each request that is served at once, so that parsing
 * allocates nothing. A request that has to wait is copied.
 */
export class Request implements Cookie {
  flags = 0;
  /** As the client sent it: it may be none of these until `validateRequest` has accepted the request. */
  command: Command = Command.READ;
  cookieHigh = 0;
  cookieLow = 0;
  /** Not exact above 2^53, but still larger than every disk, so that the range check refuses it. */
  offset = 0;
  length = 0;

  /** Reads the request at `at`. Returns false when there is no request. */
  parse(buffer: Buffer, at: number): boolean {
    if (buffer.readUInt32BE(at) !== REQUEST_MAGIC) return false;
    this.flags = buffer.readUInt16BE(at + FLAGS_AT);
    this.command = buffer.readUInt16BE(at + COMMAND_AT) as Command;
    this.cookieHigh = readInt32(buffer, at + COOKIE_AT);
    this.cookieLow = readInt32(buffer, at + COOKIE_AT + 4);
    this.offset = readUInt64(buffer, at + OFFSET_AT);
    this.length = buffer.readUInt32BE(at + LENGTH_AT);
    return true;
  }

  /** The length of the payload that follows the request. */
  get payloadBytes(): number {
    return this.command === Command.WRITE ? this.length : 0;
  }

  copyFrom(other: Request): void {
    this.flags = other.flags;
    this.command = other.command;
    this.cookieHigh = other.cookieHigh;
    this.cookieLow = other.cookieLow;
    this.offset = other.offset;
    this.length = other.length;
  }
}
