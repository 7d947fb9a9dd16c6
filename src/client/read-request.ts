import { formatCount } from '../base/units.js';
import { Coverage } from './coverage.js';
import { PendingRequest } from './pending-request.js';

/** A read. Its data goes straight into its target. */
export class ReadRequest extends PendingRequest<Buffer> {
  private readonly coverage = new Coverage();
  private target: Buffer | undefined;

  constructor(
    readonly offset: number,
    readonly length: number,
    /** Called when the first data arrives. Returns a buffer that is exactly as long as the requested range. */
    private readonly targetFor: () => Buffer,
  ) {
    super(`to read ${formatCount(length, 'byte')} at ${offset}`);
  }

  /** The place for data of the export. @throws NbdProtocolError if it was not asked for or has already arrived */
  place(offset: number, length: number): Buffer {
    const start = offset - this.offset;
    if (start < 0 || length === 0 || length > this.length - start) {
      throw this.violation(`sent ${formatCount(length, 'byte')} at ${offset}`);
    }
    const problem = this.coverage.add(start, start + length);
    if (problem) throw this.violation(`sent data that ${problem === 'overlaps' ? 'overlaps' : 'is too scattered'}`);
    this.target ??= this.targetFor();
    return this.target.subarray(start, start + length);
  }

  /** The place for all of the data. */
  placeAll(): Buffer {
    return this.place(this.offset, this.length);
  }

  protected result(): Buffer {
    if (!this.coverage.isComplete(this.length)) throw this.violation('sent too little data');
    return this.target!;
  }
}
