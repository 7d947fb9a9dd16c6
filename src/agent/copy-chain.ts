import { KIB } from '../base/units.js';
import type { Qcow2Chain } from '../qcow2/chain.js';
import { roundUpToCluster } from '../qcow2/format.js';
import { BufferPool } from './buffer-pool.js';
import type { ChainChecksums } from './chain-checksums.js';
import { ImageThreads, WORTH_THREADS_BYTES } from './image-threads.js';
import type { ImageEntry } from './manifest-format.js';
import { type CopyObserver, type DiskSink, ThreadedChainCopy, type ThreadSink } from './threaded-chain-copy.js';

const PIECE_BYTES = 512 * KIB;
const PIECES_IN_FLIGHT = 16;

export interface ChainCopyOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
  /** From how many bytes on to start threads. */
  readonly worthThreadsBytes?: number | undefined;
}

interface CopyMeans {
  /** Used only for a ThreadSink; without them, everything is copied here. They end with the copy. */
  readonly threads?: ImageThreads | undefined;
  /** With them, the images are read completely and summed there. */
  readonly checksums?: ChainChecksums | undefined;
}

/**
 * Starts threads for a copy of these images to a ThreadSink, if they are worth it. Started before the images are
 * checked, they are ready when the copy begins.
 */
export function startThreads(
  images: readonly ImageEntry[],
  { signal, worthThreadsBytes = WORTH_THREADS_BYTES }: Omit<ChainCopyOptions, 'onProgress'>,
): ImageThreads | undefined {
  const fileBytes = images.reduce((sum, image) => sum + image.fileBytes, 0);
  return fileBytes >= worthThreadsBytes ? new ImageThreads(signal) : undefined;
}

/** Copies the disk that a chain of images holds. */
export async function copyChain(
  chain: Qcow2Chain,
  sink: DiskSink,
  options: ChainCopyOptions,
  { threads: started, checksums }: CopyMeans = {},
): Promise<void> {
  // They must end before anybody closes the files that they use: the number of a closed file soon stands for another.
  await using threads = started;
  const { signal, onProgress } = options;
  const totalBytes = await dataBytesOf(chain, signal);
  let doneBytes = 0;
  const onCopied = (bytes: number) => {
    doneBytes += bytes;
    onProgress(doneBytes, totalBytes);
  };
  if (threads && isThreadSink(sink)) {
    threads.onCopied = checksums && ((part, sum) => checksums.addSum(part.path, part, sum));
    await new ThreadedChainCopy(threads, sink, { onCopied, checksums }).run(chain);
  } else {
    await copyPieces(chain, { sink, signal, onCopied, checksums });
  }
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
