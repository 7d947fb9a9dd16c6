import type { FileHandle } from 'node:fs/promises';
import type { DiskLocation } from '../api/backup.js';
import { OVERWRITTEN_CONTEXT } from '../base/metadata-contexts.js';
import { type Extent, extentsOf } from '../client/block-status-walk.js';
import { contextKind } from '../client/context-kind.js';
import { openDiskAt } from '../posix/find-disk.js';
import { LastingClient, type LastingOptions } from './lasting-client.js';

const { isMarked } = contextKind(OVERWRITTEN_CONTEXT);

/**
 * The disk behind a view, read without the server. Before the server writes to a piece of the disk, it saves the old data and
 * reports the piece as overwritten. So data that is not reported as overwritten after it was read is the view's data.
 */
export class LiveDisk implements AsyncDisposable {
  private constructor(
    private readonly file: FileHandle,
    private readonly client: LastingClient,
  ) {}

  /**
   * Undefined if the disk is not on this machine or not readable, or if the view at `uri` does not report overwrites.
   */
  static async open(location: DiskLocation, uri: string, how: LastingOptions): Promise<LiveDisk | undefined> {
    const file = await openDiskAt(location);
    if (!file) return undefined;
    const contexts = [OVERWRITTEN_CONTEXT];
    const client = await LastingClient.connect(uri, { ...how, contexts }).catch(async (error) => {
      await file.close();
      throw error;
    });
    const disk = new LiveDisk(file, client);
    if (client.contexts.length > 0) return disk;
    await disk[Symbol.asyncDispose]();
    return undefined;
  }

  get fd(): number {
    return this.file.fd;
  }

  /** Yields the parts of a range that may have changed since the view was made. */
  async *overwritten(offset: number, length: number): AsyncGenerator<Extent> {
    for await (const window of this.client.extents(offset, length)) {
      for (const extent of extentsOf(window, OVERWRITTEN_CONTEXT)) if (isMarked(extent.status)) yield extent;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.file.close(), this.client.disconnect()]);
  }
}
