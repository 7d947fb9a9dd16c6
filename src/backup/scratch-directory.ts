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
import { cloneImage, type ImageToClone } from '../storage/image/clone.js';

/** Holds old data that views still need. Its files have no names, so a killed server leaves none behind. */
export class ScratchDirectory {
  /** Limits openings, because each occupies a thread of the pool while the file system hangs. */
  private readonly openings = new Turnstile(4);
  /** Whether the image of an export could be cloned at the last attempt. */
  private readonly cloneable = new WeakMap<Export, boolean>();

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

  /** Whether the image of an export can be cloned. Found out once, by cloning it while nobody waits. */
  async canClone(served: Export, image: ImageToClone): Promise<boolean> {
    const known = this.cloneable.get(served);
    if (known !== undefined) return known;
    const clone = await this.clone(served, image);
    await clone?.close();
    return clone !== undefined;
  }

  /** Clones the image of an export; undefined where the file system cannot do that. */
  async clone(served: Export, image: ImageToClone): Promise<BlockDevice | undefined> {
    const clone = await this.cloneNow(image);
    this.cloneable.set(served, clone !== undefined);
    return clone;
  }

  /** Free bytes in the directory; Infinity when not known. */
  async freeBytes(): Promise<number> {
    const facts = await statfs(this.path).catch(() => undefined);
    return facts ? freeBytes(facts) : Number.POSITIVE_INFINITY;
  }

  protected cloneNow(image: ImageToClone): Promise<BlockDevice | undefined> {
    return cloneImage(image, this.options);
  }
}
