import { BlockingReader } from '../client/blocking-reader.js';
import { NbdConnectionError } from '../client/errors.js';
import { ReadRequest } from '../client/read-request.js';
import { CLUSTER_BYTES, type PlacedClusters } from '../qcow2/clusters.js';
import { type ClusterPlacer, unplacedClusters } from './cluster-placer.js';
import type { ReceivedSource } from './copy-orders.js';

/** Replies that come in order share one buffer, so more requests would take no more memory. */
const MAX_IN_FLIGHT = 16;

/** Copies clusters of an export to the end of an image with blocking calls. Runs in a thread of its own. */
export class ClusterReceiver {
  private readonly reader: BlockingReader;
  private readonly buffers: Buffer[] = [];

  private readonly pieceBytes: number;
  private readonly mayBeLost: boolean;

  constructor(
    { connection, pieceBytes, mayBeLost }: ReceivedSource,
    private readonly placer: ClusterPlacer,
    isStopped: () => boolean = () => false,
  ) {
    this.reader = new BlockingReader(connection, isStopped);
    this.pieceBytes = pieceBytes;
    this.mayBeLost = mayBeLost;
  }

  /** Copies whole clusters. @throws NbdClientError, and system errors from writing */
  async copy(offset: number, length: number): Promise<PlacedClusters> {
    const placed = unplacedClusters(length);
    try {
      await this.receive(offset, length, placed);
    } catch (error) {
      if (!this.mayBeLost || !(error instanceof NbdConnectionError)) throw error;
    }
    return placed;
  }

  private async receive(offset: number, length: number, placed: PlacedClusters): Promise<void> {
    const reads: ReadRequest[] = [];
    for (let at = 0; at < length; at += this.pieceBytes) {
      reads.push(this.readOf(offset + at, Math.min(this.pieceBytes, length - at), placed, at / CLUSTER_BYTES));
    }
    const settled = Promise.all(reads.map((read) => read.settled));
    // The first failure of the connection is thrown before the failures of its reads are looked at.
    settled.catch(() => {});
    for (let sent = 0; sent < reads.length; ) {
      const next = reads.slice(sent, sent + MAX_IN_FLIGHT - this.reader.inFlight);
      this.reader.send(next);
      sent += next.length;
      this.reader.receive(sent < reads.length ? MAX_IN_FLIGHT / 2 : 0);
    }
    await settled;
  }

  /** A read that takes a buffer when its data arrives, and gives it back when the data has its place. */
  private readOf(offset: number, length: number, placed: PlacedClusters, first: number): ReadRequest {
    let buffer: Buffer;
    const targetFor = () => {
      buffer = this.buffers.pop() ?? Buffer.allocUnsafeSlow(this.pieceBytes);
      return buffer.subarray(0, length);
    };
    return new ClusterRead(offset, length, targetFor, (data) => {
      this.placer.place(data, placed, first);
      this.buffers.push(buffer);
    });
  }
}

class ClusterRead extends ReadRequest {
  constructor(
    offset: number,
    length: number,
    targetFor: () => Buffer,
    private readonly use: (data: Buffer) => void,
  ) {
    super(offset, length, targetFor);
  }

  protected override result(): Buffer {
    const data = super.result();
    this.use(data);
    return data;
  }
}
