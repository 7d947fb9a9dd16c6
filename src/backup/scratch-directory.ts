import { statfs } from 'node:fs/promises';
import { CodedError } from '../base/coded-error.js';
import { folderHint } from '../base/folder-hint.js';
import { freeBytes } from '../base/free-space.js';
import type { Log } from '../base/log.js';
import { Turnstile } from '../base/turnstile.js';
import type { Export } from '../export/export.js';
import type { Posix } from '../posix/posix-calls.js';
import { makeFolders } from '../posix/regular-files.js';
import { openScratch, type Scratch } from '../snapshot/scratch.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { cloneImage } from '../storage/image/clone.js';

/** Holds old data that views still need. Its files have no names, so a killed server leaves none behind. */
export class ScratchDirectory {
  /** Limits openings, because each occupies a thread of the pool while the file system hangs. */
  private readonly openings = new Turnstile(4);
  private readonly uncloneable = new WeakSet<Export>();

  constructor(
    readonly path: string,
    private readonly options: { readonly posix: Posix | undefined; readonly log: Log },
  ) {}

  /** Opens an empty, sparse device. @throws CodedError SCRATCH_UNUSABLE */
  async open(sizeBytes: number): Promise<Scratch> {
    try {
      return await this.openings.pass(async () => {
        await makeFolders(this.path, 0o700);
        return openScratch(this.path, sizeBytes, this.options);
      });
    } catch (cause) {
      throw new CodedError(
        'SCRATCH_UNUSABLE',
        `the scratch directory ${this.path} cannot be used: ${(cause as Error).message}`,
        `${folderHint(cause as NodeJS.ErrnoException, '--scratch')}, on a file system with sparse files`,
        { cause },
      );
    }
  }

  /**
   * Clones the image; undefined where the file system cannot do that. Writes wait during the attempt, so it is not
   * repeated for an export whose image cannot be cloned.
   */
  async clone(served: Export): Promise<BlockDevice | undefined> {
    if (this.uncloneable.has(served)) return undefined;
    const identity = await served.disk.identify?.();
    const image = identity && { path: served.path, id: identity.id, sizeBytes: served.sizeBytes };
    const clone = image && (await cloneImage(image, this.options));
    if (!clone) this.uncloneable.add(served);
    return clone;
  }

  /** Free bytes in the directory; Infinity when not known. */
  async freeBytes(): Promise<number> {
    const facts = await statfs(this.path).catch(() => undefined);
    return facts ? freeBytes(facts) : Number.POSITIVE_INFINITY;
  }
}
