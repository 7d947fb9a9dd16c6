import { KIB } from '../base/units.js';
import type { Qcow2Chain } from '../qcow2/chain.js';
import { roundUpToCluster } from '../qcow2/format.js';
import { BufferPool } from './buffer-pool.js';
import type { ChainChecksums } from './chain-checksums.js';
import type { ImagePart } from './image-orders.js';
import { ImageThreads, WORTH_THREADS_BYTES } from './image-threads.js';
import { type CopyObserver, type DiskSink, ThreadedChainCopy, type ThreadSink } from './threaded-chain-copy.js';

const PIECE_BYTES = 512 * KIB;
const PIECES_IN_FLIGHT = 16;

export interface ChainCopyOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
  /** From how many bytes on to start threads. */
  readonly worthThreadsBytes?: number | undefined;
}

/** Copies the disk that a chain of images holds. With `checksums`, the images are read completely and summed there. */
export async function copyChain(
  chain: Qcow2Chain,
  sink: DiskSink,
  options: ChainCopyOptions,
  checksums?: ChainChecksums,
): Promise<void> {
  const { signal, onProgress, worthThreadsBytes = WORTH_THREADS_BYTES } = options;
  const totalBytes = await dataBytesOf(chain, signal);
  let doneBytes = 0;
  const onCopied = (bytes: number) => {
    doneBytes += bytes;
    onProgress(doneBytes, totalBytes);
  };
  if (!isThreadSink(sink) || totalBytes < worthThreadsBytes) {
    await copyPieces(chain, { sink, signal, onCopied, checksums });
    await checksums?.readTheRest(signal);
    return;
  }
  const addSum = checksums && ((part: ImagePart, sum: bigint) => checksums.addSum(part.path, part, sum));
  await using threads = new ImageThreads(signal, addSum);
  await new ThreadedChainCopy(threads, sink, { onCopied, checksums }).run(chain);
  await checksums?.readTheRest(signal, threads);
}

function isThreadSink(sink: DiskSink): sink is ThreadSink {
  return sink.copyInThreads !== undefined;
}

interface PieceCopy extends CopyObserver {
  readonly sink: DiskSink;
  readonly signal: AbortSignal;
}

async function copyPieces(chain: Qcow2Chain, { sink, signal, onCopied, checksums }: PieceCopy): Promise<void> {
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
      const bytes = Math.min(PIECE_BYTES, length - at);
      // The end of the disk is a part of a cluster that is whole in the file.
      const whole = await image.read(fileOffset + at, roundUpToCluster(bytes), slot);
      checksums?.addData(image.path, whole, fileOffset + at);
      const data = whole.subarray(0, bytes);
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
