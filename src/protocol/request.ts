import { readInt32, readUInt64 } from '../base/big-endian.js';
import { Command, CommandFlag, EXTENDED_REQUEST_MAGIC, REQUEST_MAGIC } from './constants.js';
import { extendedRequestLayout, fieldOffset, requestLayout } from './layouts.js';
import type { ReplyForm } from './reply-form.js';

/** Where the fields of a request are, in both forms, for the server that reads them and the client that writes them. */
export const REQUEST_FLAGS_AT = fieldOffset(requestLayout, 'flags');
export const REQUEST_COMMAND_AT = fieldOffset(requestLayout, 'command');
export const REQUEST_COOKIE_AT = fieldOffset(requestLayout, 'cookie');
export const REQUEST_OFFSET_AT = fieldOffset(requestLayout, 'offset');
export const REQUEST_LENGTH_AT = fieldOffset(requestLayout, 'length');

/**
 * Which request a reply belongs to: the 8 bytes that identify a request to its client, as two signed numbers, because V8
 * keeps those without allocating. They are sent back and never interpreted.
 */
export interface Cookie {
  readonly cookieHigh: number;
  readonly cookieLow: number;
}

/** What an extended reply repeats of its request: also its offset, to the bit, even if no disk is that large. */
export interface ReplyTo extends Cookie {
  readonly offsetHigh: number;
  readonly offsetLow: number;
}

/**
 * A request without its payload. One record is filled again for each request that is served at once, so that parsing
 * allocates nothing. A request that has to wait is copied.
 */
export class Request implements ReplyTo {
  flags = 0;
  /** As the client sent it: it may be none of these until `validateRequest` has accepted the request. */
  command: Command = Command.READ;
  cookieHigh = 0;
  cookieLow = 0;
  /** Only an extended request has them. */
  offsetHigh = 0;
  offsetLow = 0;
  /** Not exact above 2^53, but still larger than every disk, so that the range check refuses it. */
  offset = 0;
  /** As `offset`. How much of the disk the request is about; the length of the payload if that says it instead. */
  length = 0;
  /** The length of the payload that follows the request. */
  payloadBytes = 0;

  /** The length of such a request on the wire, without its payload. */
  get headerBytes(): number {
    return requestLayout.span;
  }

  /** Reads the request at `at`. Returns false when there is no request. */
  parse(buffer: Buffer, at: number): boolean {
    if (readInt32(buffer, at) >>> 0 !== REQUEST_MAGIC) return false;
    this.parseCommon(buffer, at);
    this.offset = readUInt64(buffer, at + REQUEST_OFFSET_AT);
    this.length = readInt32(buffer, at + REQUEST_LENGTH_AT) >>> 0;
    this.payloadBytes = this.command === Command.WRITE ? this.length : 0;
    return true;
  }

  copyFrom(other: Request): void {
    this.flags = other.flags;
    this.command = other.command;
    this.cookieHigh = other.cookieHigh;
    this.cookieLow = other.cookieLow;
    this.offsetHigh = other.offsetHigh;
    this.offsetLow = other.offsetLow;
    this.offset = other.offset;
    this.length = other.length;
    this.payloadBytes = other.payloadBytes;
  }

  protected parseCommon(buffer: Buffer, at: number): void {
    this.flags = buffer.readUInt16BE(at + REQUEST_FLAGS_AT);
    this.command = buffer.readUInt16BE(at + REQUEST_COMMAND_AT) as Command;
    this.cookieHigh = readInt32(buffer, at + REQUEST_COOKIE_AT);
    this.cookieLow = readInt32(buffer, at + REQUEST_COOKIE_AT + 4);
  }
}

/** A request with an extended header, whose fields are where those of other requests are. */
export class ExtendedRequest extends Request {
  override get headerBytes(): number {
    return extendedRequestLayout.span;
  }

  override parse(buffer: Buffer, at: number): boolean {
    if (readInt32(buffer, at) >>> 0 !== EXTENDED_REQUEST_MAGIC) return false;
    this.parseCommon(buffer, at);
    this.offsetHigh = readInt32(buffer, at + REQUEST_OFFSET_AT);
    this.offsetLow = readInt32(buffer, at + REQUEST_OFFSET_AT + 4);
    this.offset = readUInt64(buffer, at + REQUEST_OFFSET_AT);
    this.length = readUInt64(buffer, at + REQUEST_LENGTH_AT);
    // A write has a payload even if its client forgets the flag. QEMU takes it as well.
    const hasPayload = this.command === Command.WRITE || (this.flags & CommandFlag.PAYLOAD_LEN) !== 0;
    this.payloadBytes = hasPayload ? this.length : 0;
    return true;
  }
}

/** A record for the requests of a connection whose replies have that form. */
export function requestFor(form: ReplyForm): Request {
  return form === 'extended' ? new ExtendedRequest() : new Request();
}
