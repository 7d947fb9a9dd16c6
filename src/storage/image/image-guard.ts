import type { FileHandle } from 'node:fs/promises';

/** Decides which images may be opened and made. Each method throws a CodedError where it may not be. */
export interface ImageGuard {
  /** Before anything is looked at, so that a refusal does not tell what there is. */
  admitPath(): void;
  /** The folder in which the image is about to be made. */
  admitFolder(folder: FileHandle): Promise<void>;
  /** What has been opened, whatever lies at its path by now. */
  admitFile(file: FileHandle): Promise<void>;
}
