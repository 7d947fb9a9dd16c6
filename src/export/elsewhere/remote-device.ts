import { type Errno, type OK, WOULD_BLOCK } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import { HandedWrites, placeOf } from '../../bitmap/explained-writes.js';
import type { SharedExplanation } from '../../bitmap/store/disk-watch.js';
import { openSharedNumber } from '../../bitmap/store/shared-number.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { DeviceCapabilities } from '../../storage/device/block-device.js';
import type { PagePipe } from '../../storage/device/page-pipe.js';
import { assertInside } from '../../storage/device/range.js';
import { QuickFile } from '../../storage/file/quick-file.js';
import { PermittedWrites } from '../../storage/permits/permitted-writes.js';
import { AskedDevice, type AskOwner } from './asked-device.js';
import type { SharedDisk } from './disk-sharing.js';

export interface RemoteDeviceParts {
  readonly capabilities: DeviceCapabilities;
  readonly sizeBytes: number;
  readonly shared: SharedDisk;
  /** The slot of this thread. */
  readonly slot: number;
  readonly posix: Posix | undefined;
  readonly log: Log;
  readonly ask: AskOwner;
}

/**
 * A disk that belongs to another thread. Cached data is read here, and what the owner permits is written here. The owner
 * does everything else.
 */
export class RemoteDevice extends AskedDevice {
  private readonly file: QuickFile;
  private readonly permitted: PermittedWrites;
  private readonly explanation: WritesExplained | undefined;
  private readonly mayWrite: boolean;

  constructor(parts: RemoteDeviceParts) {
    const { shared, slot, posix, log } = parts;
    super(parts.capabilities, parts.sizeBytes, parts.ask);
    this.file = new QuickFile(shared.file, posix, log);
    this.permitted = new PermittedWrites(shared.permits, slot);
    this.explanation = shared.explanation && explainWrites(shared.explanation, slot, posix);
    this.mayWrite = shared.explanation === undefined || this.explanation !== undefined;
  }

  /** As it is now. */
  override get sizeBytes(): number {
    return this.permitted.sizeBytes;
  }

  override readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    assertInside(this.sizeBytes, offset, length);
    return this.file.readNow(target, start, length, offset);
  }

  override lendNow(pipe: PagePipe, length: number, offset: number): typeof OK | typeof WOULD_BLOCK {
    assertInside(this.sizeBytes, offset, length);
    return this.file.lendNow(pipe, length, offset);
  }

  override holeNow(offset: number, length: number): number {
    assertInside(this.sizeBytes, offset, length);
    return this.file.holeNow(offset, length);
  }

  override writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    assertInside(this.sizeBytes, offset, length);
    if (!this.mayWrite) return WOULD_BLOCK;
    const { permitted } = this;
    const isPermitted = permitted.begin(offset, length);
    try {
      return isPermitted ? this.writeExplained(source, start, length, offset) : WOULD_BLOCK;
    } finally {
      permitted.end(isPermitted);
    }
  }

  /** Nothing may be written afterwards. */
  override async close(): Promise<void> {
    this.explanation?.release();
  }

  private writeExplained(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    const { explanation, file } = this;
    if (!explanation) return file.writeNow(source, start, length, offset);
    const { handed } = explanation;
    const sectors = handed.began(offset, length);
    const errno = file.writeNow(source, start, length, offset);
    if (errno === WOULD_BLOCK) handed.refused(sectors);
    else handed.over(sectors);
    return errno;
  }
}

interface WritesExplained {
  readonly handed: HandedWrites;
  readonly release: () => void;
}

/** Undefined if the memory for it cannot be shared. */
function explainWrites(
  { path, counting }: SharedExplanation,
  slot: number,
  posix: Posix | undefined,
): WritesExplained | undefined {
  const number = posix && openSharedNumber(posix, path);
  if (!number) return undefined;
  const { parts, besides: ended, release } = number;
  return { handed: new HandedWrites({ parts, ended }, counting, placeOf(slot)), release };
}
