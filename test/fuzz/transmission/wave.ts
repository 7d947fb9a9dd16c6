import { Command } from '../../../src/protocol/constants.js';
import { statusPayload } from '../../support/raw-client.js';
import { expectThat } from '../target.js';
import type { DiskModel } from './disk-model.js';
import type { FuzzDisk } from './disks.js';
import { allowedErrors } from './expectation.js';
import type { PlannedClient, PlannedRequest } from './plan.js';

const REQUEST_BYTES = 28;
const REQUEST_MAGIC = 0x25609513;
const EXTENDED_BYTES = 32;
const EXTENDED_MAGIC = 0x21e41c71;
const PAYLOAD_LEN = 1 << 5;

const isChange = ({ command }: PlannedRequest) =>
  command === Command.WRITE || command === Command.WRITE_ZEROES || command === Command.TRIM;

/** Requests that one client has sent together, and the outcome of each. */
export class Wave {
  readonly errors: (number | undefined)[];
  private readonly allowed: ReadonlySet<number>[];
  private readonly answered: Uint8Array;
  unanswered: number;

  constructor(
    readonly requests: readonly PlannedRequest[],
    /** The upper half of all cookies. */
    private readonly salt: number,
    disk: FuzzDisk,
    private readonly client: PlannedClient,
    /** Undefined if the content of the disk is unknown. */
    private readonly model: DiskModel | undefined,
  ) {
    this.unanswered = requests.length;
    this.answered = new Uint8Array(requests.length);
    this.errors = new Array(requests.length).fill(undefined);
    this.allowed = requests.map((request) => allowedErrors(request, disk, client));
    for (const [index, request] of requests.entries()) {
      if (this.changesModel(index)) model!.announce(Number(request.offset), request.length);
    }
  }

  encode(): Buffer {
    return Buffer.concat(
      this.requests.flatMap((request, index) => [this.header(request, index), this.payload(request)]),
    );
  }

  /** The IDs of the contexts that a block-status request names; undefined if it is about all. */
  chosenContexts({ flags, contextIds }: PlannedRequest): readonly number[] | undefined {
    return this.client.extended && (flags & PAYLOAD_LEN) !== 0 ? contextIds : undefined;
  }

  private header(request: PlannedRequest, index: number): Buffer {
    const { extended } = this.client;
    const bytes = Buffer.allocUnsafe(extended ? EXTENDED_BYTES : REQUEST_BYTES);
    bytes.writeUInt32BE(extended ? EXTENDED_MAGIC : REQUEST_MAGIC, 0);
    bytes.writeUInt16BE(request.flags, 4);
    bytes.writeUInt16BE(request.command, 6);
    bytes.writeUInt32BE(this.salt, 8);
    bytes.writeUInt32BE(index, 12);
    bytes.writeBigUInt64BE(request.offset, 16);
    const ids = this.chosenContexts(request);
    if (extended) bytes.writeBigUInt64BE(ids ? BigInt(8 + 4 * ids.length) : BigInt(request.length), 24);
    else bytes.writeUInt32BE(request.length, 24);
    return bytes;
  }

  private payload(request: PlannedRequest): Buffer {
    const ids = this.chosenContexts(request);
    if (ids) return statusPayload(request.length, ...ids);
    const says = this.client.extended && (request.flags & PAYLOAD_LEN) !== 0;
    return Buffer.alloc(says || request.command === Command.WRITE ? request.length : 0, stampOf(request));
  }

  /** The request of a reply. @throws WrongAnswer if there is none, or if it was answered already */
  find(salt: number, index: number): PlannedRequest {
    const request = this.requests[index];
    expectThat(
      salt === this.salt && request !== undefined,
      () => `a reply has the cookie ${salt}:${index} of no request`,
    );
    expectThat(this.answered[index] === 0, () => `${describe(request)} was answered twice`);
    return request;
  }

  fail(index: number, error: number): void {
    expectThat(error !== 0, () => `${describe(this.requests[index]!)} failed with error 0`);
    this.errors[index] = error;
  }

  /** The whole reply has arrived. */
  finish(index: number): void {
    this.answered[index] = 1;
    this.unanswered--;
    const request = this.requests[index]!;
    const error = this.errors[index] ?? 0;
    expectThat(this.allowed[index]!.has(error), () => {
      return `${describe(request)} was answered with ${error} in place of ${[...this.allowed[index]!].join(' or ')}`;
    });
    if (error !== 0 || !this.changesModel(index)) return;
    const { command, offset, length } = request;
    const fills: Record<number, (target: Buffer) => void> = {
      [Command.WRITE]: (target) => void target.fill(stampOf(request)),
      [Command.WRITE_ZEROES]: (target) => void target.fill(0),
    };
    this.model!.acknowledge(Number(offset), length, fills[command]);
  }

  /** The connection is gone. Requests without a reply may have been carried out or not. */
  abandon(): void {
    for (const [index, { offset, length }] of this.requests.entries()) {
      if (this.answered[index] === 0 && this.changesModel(index)) this.model!.lose(Number(offset), length);
    }
  }

  private changesModel(index: number): boolean {
    const request = this.requests[index]!;
    return this.model !== undefined && isChange(request) && request.length > 0 && this.allowed[index]!.has(0);
  }
}

function stampOf({ stamp }: PlannedRequest): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(stamp);
  return bytes;
}

export function describe({ command, flags, offset, length }: PlannedRequest): string {
  return `command ${command}, flags ${flags}, of ${length} bytes at ${offset}`;
}
