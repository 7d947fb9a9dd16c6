import { KIB } from '../base/units.js';
import type { Qcow2Chain } from '../qcow2/chain.js';
import { BufferPool } from './buffer-pool.js';
import { ImageThreads, WORTH_THREADS_BYTES } from './image-threads.js';
import { type DiskSink, ThreadedChainCopy, type ThreadSink } from './threaded-chain-copy.js';

const PIECE_BYTES = 512 * KIB;
const PIECES_IN_FLIGHT = 16;

export interface ChainCopyOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
  /** From how many bytes on to start threads. */
  readonly worthThreadsBytes?: number | undefined;
}

/** Copies the disk that a chain of images holds. */
export async function copyChain(chain: Qcow2Chain, sink: DiskSink, options: ChainCopyOptions): Promise<void> {
  const { signal, onProgress, worthThreadsBytes = WORTH_THREADS_BYTES } = options;
  const totalBytes = await dataBytesOf(chain, signal);
  let doneBytes = 0;
  const onCopied = (bytes: number) => {
    doneBytes += bytes;
    onProgress(doneBytes, totalBytes);
  };
  if (!isThreadSink(sink) || totalBytes < worthThreadsBytes) return await copyPieces(chain, sink, signal, onCopied);
  await using threads = new ImageThreads(signal);
  await new ThreadedChainCopy(threads, sink, onCopied).run(chain);
}

function isThreadSink(sink: DiskSink): sink is ThreadSink {
  return sink.copyInThreads !== undefined;
}

async function copyPieces(
  chain: Qcow2Chain,
  sink: DiskSink,
  signal: AbortSignal,
  onCopied: (bytes: number) => void,
): Promise<void> {
  const pool = new BufferPool(PIECES_IN_FLIGHT, PIECE_BYTES);
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
      onCopied(data.length);
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
