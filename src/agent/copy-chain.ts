import { KIB } from '../base/units.js';
import type { Qcow2Chain } from '../qcow2/chain.js';
import { BufferPool } from './buffer-pool.js';

const PIECE_BYTES = 512 * KIB;
const PIECES_IN_FLIGHT = 16;

/** Receives a disk by ascending offset. */
export interface DiskSink {
  /** Resolves when the buffer may be reused. */
  write(offset: number, data: Buffer): Promise<void>;
  /** Makes the range read as zeroes. */
  zero(offset: number, length: number): Promise<void> | void;
}

export interface ChainCopyOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/** Copies the disk that a chain of images holds. */
export async function copyChain(chain: Qcow2Chain, sink: DiskSink, options: ChainCopyOptions): Promise<void> {
  const { signal, onProgress } = options;
  const pool = new BufferPool(PIECES_IN_FLIGHT, PIECE_BYTES);
  const totalBytes = await dataBytesOf(chain, signal);
  let doneBytes = 0;
  let failure: Error | undefined;
  for await (const { offset, length, image, fileOffset } of chain.runs()) {
    signal.throwIfAborted();
    if (!image) {
      await sink.zero(offset, length);
      continue;
    }
    for (let at = 0; at < length; at += PIECE_BYTES) {
      const slot = await pool.take();
      if (failure) throw failure;
      signal.throwIfAborted();
      const data = await image.read(fileOffset + at, Math.min(PIECE_BYTES, length - at), slot);
      const written = sink.write(offset + at, data).catch((error: Error) => {
        failure ??= error;
      });
      void written.then(() => pool.give(slot));
      doneBytes += data.length;
      onProgress(doneBytes, totalBytes);
    }
  }
  for (let i = 0; i < PIECES_IN_FLIGHT; i++) await pool.take();
  if (failure) throw failure;
}

async function dataBytesOf(chain: Qcow2Chain, signal: AbortSignal): Promise<number> {
  let bytes = 0;
  for await (const { image, length } of chain.runs()) {
    signal.throwIfAborted();
    if (image) bytes += length;
  }
  return bytes;
}
