import { readSync, writeSync } from 'node:fs';
import { unreachable } from '../base/assert.js';
import { KIB } from '../base/units.js';
import { add64 } from '../base/xxh64.js';
import { hashAt, hashCluster } from '../qcow2/cluster-hash.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';
import { FileEnd } from '../qcow2/file-end.js';
import { Qcow2Error, unreadable } from '../qcow2/image-file.js';
import { ClusterPlacer, unplacedClusters } from './cluster-placer.js';
import type { DiskPart, ImageOrder, ImagePart, ImageResult } from './image-orders.js';

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
          return { sums: sumsOf(order.parts, (part) => this.sum(part)) };
        case 'disk':
          return this.copyToDisk(order.parts, order.targetFd, order.isSummed);
        case 'image':
          return this.copyToImage(order.parts, new ClusterPlacer(order.targetFd, FileEnd.shared(order.end)));
        default:
          return unreachable(order);
      }
    } catch (error) {
      if (!(error instanceof Qcow2Error)) throw error;
      return { damaged: { path: error.path, problem: error.problem } };
    }
  }

  private sum(part: ImagePart): bigint {
    let sum = 0n;
    this.eachPiece(part, (piece, at) => {
      sum = add64(sum, sumOfPiece(piece, part.position + at));
    });
    return sum;
  }

  private copyToDisk(parts: readonly DiskPart[], targetFd: number, isSummed: boolean): ImageResult {
    const sums = sumsOf(parts, (part) => {
      let sum = 0n;
      this.eachPiece(part, (piece, at) => {
        if (isSummed) sum = add64(sum, sumOfPiece(piece, part.position + at));
        writeAll(targetFd, piece, part.offset + at);
      });
      return sum;
    });
    return { sums };
  }

  private copyToImage(parts: readonly ImagePart[], placer: ClusterPlacer): ImageResult {
    const placed = unplacedClusters(parts.reduce((bytes, { length }) => bytes + length, 0));
    let first = 0;
    const sums = sumsOf(parts, (part) => {
      let sum = 0n;
      this.eachPiece(part, (piece, at) => {
        // The hash serves for the cluster's old place and for its new one.
        placer.place(piece, placed, first + at / CLUSTER_BYTES, (hash, start) => {
          sum = add64(sum, hashAt(part.position + at + start, hash));
        });
      });
      first += part.length / CLUSTER_BYTES;
      return sum;
    });
    return { placed, sums };
  }

  private eachPiece({ path, fd, position, length }: ImagePart, use: (piece: Buffer, at: number) => void): void {
    for (let at = 0; at < length; at += PIECE_BYTES) {
      if (this.isStopped()) throw new Error('the work was stopped');
      const piece = this.piece.subarray(0, Math.min(PIECE_BYTES, length - at));
      readAll(path, fd, piece, position + at);
      use(piece, at);
    }
  }
}

function sumsOf<Part>(parts: readonly Part[], sumOf: (part: Part) => bigint): BigUint64Array {
  return BigUint64Array.from(parts, sumOf);
}

function sumOfPiece(piece: Buffer, position: number): bigint {
  let sum = 0n;
  for (let start = 0; start < piece.length; start += CLUSTER_BYTES) {
    sum = add64(sum, hashCluster(piece.subarray(start, start + CLUSTER_BYTES), position + start));
  }
  return sum;
}

/** @throws Qcow2Error */
function readAll(path: string, fd: number, into: Buffer, position: number): void {
  for (let done = 0; done < into.length; ) {
    const count = readOrThrow(path, fd, into.subarray(done), position + done);
    if (count === 0) throw new Qcow2Error(path, 'it ends too early');
    done += count;
  }
}

function readOrThrow(path: string, fd: number, into: Buffer, position: number): number {
  try {
    return readSync(fd, into, 0, into.length, position);
  } catch (error) {
    throw unreadable(path, error as Error);
  }
}

function writeAll(fd: number, data: Buffer, offset: number): void {
  for (let done = 0; done < data.length; ) done += writeSync(fd, data, done, data.length - done, offset + done);
}
