import { MIB } from '../base/units.js';
import type { DiskSink } from './threaded-chain-copy.js';

const ZEROES = Buffer.alloc(MIB);

/** Zeroes a range of a disk that can only be written. */
export async function writeZeroes(write: DiskSink['write'], offset: number, length: number): Promise<void> {
  for (let at = 0; at < length; at += ZEROES.length) {
    await write(offset + at, ZEROES.subarray(0, Math.min(ZEROES.length, length - at)));
  }
}
