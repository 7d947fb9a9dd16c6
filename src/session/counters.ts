import type { ClientCounters } from '../export/served-disk.js';

const REQUESTS = 0;
const FAILED_REQUESTS = 1;
const BYTES_READ = 2;
const BYTES_WRITTEN = 3;
const COUNT = 4;

/** What a client has done. In shared memory, another thread can see it. */
export class Counters implements ClientCounters {
  constructor(private readonly values: Float64Array = new Float64Array(COUNT)) {}

  static sharedMemory(): Float64Array<SharedArrayBuffer> {
    return new Float64Array(new SharedArrayBuffer(COUNT * Float64Array.BYTES_PER_ELEMENT));
  }

  get requests(): number {
    return this.values[REQUESTS]!;
  }

  set requests(value: number) {
    this.values[REQUESTS] = value;
  }

  get failedRequests(): number {
    return this.values[FAILED_REQUESTS]!;
  }

  set failedRequests(value: number) {
    this.values[FAILED_REQUESTS] = value;
  }

  get bytesRead(): number {
    return this.values[BYTES_READ]!;
  }

  set bytesRead(value: number) {
    this.values[BYTES_READ] = value;
  }

  get bytesWritten(): number {
    return this.values[BYTES_WRITTEN]!;
  }

  set bytesWritten(value: number) {
    this.values[BYTES_WRITTEN] = value;
  }
}
