import type { Errno, OK, WOULD_BLOCK } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import { nodePosix } from '../../posix/node-posix.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { PagePipe } from '../device/page-pipe.js';
import { inShare } from './disk-threads.js';
import { FaultLog } from './fault-log.js';
import { FileExtents } from './file-extents.js';
import { FileReader } from './file-reader.js';
import { FileWriter } from './file-writer.js';
import { ImageFile } from './image-file.js';

/** What another thread needs in order to use an open image. */
export interface SharedFile {
  /** For people, in messages. */
  readonly path: string;
  /** Open as long as a client is connected to the disk. */
  readonly fd: number;
  /** As in `ImageFile`. */
  readonly inMemory: boolean;
  readonly endsWithin: number | undefined;
}

/** An image that another thread has opened: only what never waits for a disk. */
export class QuickFile {
  private readonly reader: FileReader;
  private readonly writer: FileWriter;
  private readonly extents: FileExtents;

  constructor({ fd, path, inMemory, endsWithin }: SharedFile, calls: Posix = nodePosix, log: Log) {
    const { posix, share } = inShare(calls, path);
    const file = new ImageFile(fd, inMemory, posix, new FaultLog(log, path), share, endsWithin);
    this.reader = new FileReader(file);
    this.writer = new FileWriter(file);
    this.extents = new FileExtents(file);
  }

  /** As in `BlockDevice`. */
  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    return this.reader.readNow(target, start, length, offset);
  }

  /** As in `BlockDevice`. */
  lendNow(pipe: PagePipe, length: number, offset: number): typeof OK | typeof WOULD_BLOCK {
    return this.reader.lendNow(pipe, length, offset);
  }

  /** As in `BlockDevice`. */
  writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    return this.writer.writeNow(source, start, length, offset);
  }

  /** As in `BlockDevice`. */
  holeNow(offset: number, length: number): number {
    return this.extents.holeNow(offset, length);
  }
}
