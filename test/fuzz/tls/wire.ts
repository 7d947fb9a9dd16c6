import { Duplex } from 'node:stream';
import { Random } from '../../support/random.js';
import type { FuzzSocket } from '../fuzz-socket.js';
import { mutate } from '../odd-values.js';
import { expectThat } from '../target.js';
import type { Spoiler } from './plan.js';

/** Type, version and length. */
const HEADER_BYTES = 5;
/** From ChangeCipherSpec to application data (RFC 8446, section 5.1). */
const FIRST_TYPE = 20;
const LAST_TYPE = 23;

/** Between a TLS client and the server: it spoils a record of the client, and checks that the server sends only TLS. */
export class TlsWire extends Duplex {
  isSpoiled = false;
  private failure: Error | undefined;
  private records = 0;
  private unsent = Buffer.alloc(0);
  private unchecked = Buffer.alloc(0);

  constructor(
    private readonly raw: FuzzSocket,
    private readonly spoiler: Spoiler | undefined,
  ) {
    super();
    this.pump().catch((error: Error) => {
      this.failure = error;
      this.destroy();
    });
  }

  /** @throws WrongAnswer if the server has sent something that is not TLS */
  check(): void {
    if (this.failure) throw this.failure;
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.unsent = Buffer.concat([this.unsent, bytes]);
    for (let length = firstRecordBytes(this.unsent); length <= this.unsent.length; ) {
      this.sendRecord(this.unsent.subarray(0, length));
      this.unsent = this.unsent.subarray(length);
      length = firstRecordBytes(this.unsent);
    }
    done();
  }

  override _final(done: () => void): void {
    this.raw.finish();
    done();
  }

  private sendRecord(record: Buffer): void {
    if (this.isSpoiled) return;
    this.isSpoiled = this.records++ === this.spoiler?.record;
    void this.raw.send(this.isSpoiled ? spoil(record, this.spoiler!) : record);
    if (this.isSpoiled) this.raw.finish();
  }

  private async pump(): Promise<void> {
    const { raw } = this;
    for (;;) {
      if (raw.available > 0) {
        const bytes = Buffer.from(raw.take(raw.available));
        this.unchecked = takeRecords(Buffer.concat([this.unchecked, bytes]));
        this.push(bytes);
      } else if (raw.over) {
        this.push(null);
        return;
      } else await raw.more();
    }
  }
}

/** Returns what is behind the last whole record. @throws WrongAnswer if the bytes are not TLS */
export function takeRecords(bytes: Buffer): Buffer<ArrayBuffer> {
  let at = 0;
  for (;;) {
    const rest = bytes.subarray(at);
    const isTls = rest.length < 2 || (rest[0]! >= FIRST_TYPE && rest[0]! <= LAST_TYPE && rest[1] === 3);
    expectThat(isTls, () => `the server sent ${rest.toString('hex', 0, 32)} in place of TLS`);
    const length = firstRecordBytes(rest);
    if (length > rest.length) return Buffer.from(rest);
    at += length;
  }
}

/** Infinity if the header is incomplete. */
function firstRecordBytes(bytes: Buffer): number {
  return bytes.length < HEADER_BYTES ? Number.POSITIVE_INFINITY : HEADER_BYTES + bytes.readUInt16BE(3);
}

function spoil(record: Buffer, { kind, injected, seed }: Spoiler): Buffer {
  if (kind === 'change') return mutate(new Random(seed), record);
  if (kind === 'repeat') return Buffer.concat([record, record]);
  return Buffer.concat(kind === 'before' ? [injected, record] : [record, injected]);
}
