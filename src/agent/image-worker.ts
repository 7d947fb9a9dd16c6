import { readSync, writeSync } from 'node:fs';
import { unreachable } from '../base/assert.js';
import { KIB } from '../base/units.js';
import { add64 } from '../base/xxh64.js';
import { hashCluster } from '../qcow2/cluster-hash.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';
import { FileEnd } from '../qcow2/file-end.js';
import { ClusterPlacer, unplacedClusters } from './cluster-placer.js';
import type { ImageOrder, ImagePart, ImageResult } from './image-orders.js';

/** Small enough that a piece is still in the CPU's cache when it is hashed and written. */
const PIECE_BYTES = 128 * KIB;

/** Reads parts of images with blocking calls. Runs in a thread of its own. */
export class ImageWorker {
  private readonly piece = Buffer.allocUnsafeSlow(PIECE_BYTES);

  /** `isStopped` is asked before each piece. Once true, orders fail. */
  constructor(private readonly isStopped: () => boolean = () => false) {}

  /** @throws system errors */
  carryOut(order: ImageOrder): ImageResult {
    try {
      switch (order.to) {
        case 'sum':
          return { sum: this.sum(order.part) };
        case 'disk':
          for (const part of order.parts) {
            this.eachPiece(part, (piece, at) => writeAll(order.targetFd, piece, part.offset + at));
          }
          return {};
        case 'image':
          return { placed: this.place(order.parts, new ClusterPlacer(order.targetFd, FileEnd.shared(order.end))) };
        default:
          return unreachable(order);
      }
    } catch (error) {
      if (error instanceof TooShortError) return { tooShort: error.path };
      throw error;
    }
  }

  private sum(part: ImagePart): bigint {
    let sum = 0n;
    this.eachPiece(part, (piece, at) => {
      for (let start = 0; start < piece.length; start += CLUSTER_BYTES) {
        sum = add64(sum, hashCluster(piece.subarray(start, start + CLUSTER_BYTES), part.position + at + start));
      }
    });
    return sum;
  }

  private place(parts: readonly ImagePart[], placer: ClusterPlacer) {
    const placed = unplacedClusters(parts.reduce((bytes, { length }) => bytes + length, 0));
    let first = 0;
    for (const part of parts) {
      this.eachPiece(part, (piece, at) => placer.place(piece, placed, first + at / CLUSTER_BYTES));
      first += part.length / CLUSTER_BYTES;
    }
    return placed;
  }

  private eachPiece({ path, fd, position, length }: ImagePart, use: (piece: Buffer, at: number) => void): void {
    for (let at = 0; at < length; at += PIECE_BYTES) {
      if (this.isStopped()) throw new Error('the work was stopped');
      const piece = this.piece.subarray(0, Math.min(PIECE_BYTES, length - at));
      for (let done = 0; done < piece.length; ) {
        const count = readSync(fd, piece, done, piece.length - done, position + at + done);
        if (count === 0) throw new TooShortError(path);
        done += count;
      }
      use(piece, at);
    }
  }
}

/** An image is shorter than it was. */
class TooShortError extends Error {
  constructor(readonly path: string) {
    super(`${path} ends too early`);
  }
}

function writeAll(fd: number, data: Buffer, offset: number): void {
  for (let done = 0; done < data.length; ) done += writeSync(fd, data, done, data.length - done, offset + done);
}
