import type { FileHandle } from 'node:fs/promises';

/** Decides which images may be opened and created. Each method throws a CodedError if the image is not allowed. */
export interface ImageGuard {
  /** Called before anything is looked at, so that a refusal does not reveal what exists. */
  admitPath(): void;
  /** `folder` is where the image is about to be created. */
  admitFolder(folder: FileHandle): Promise<void>;
  /** `file` is what was opened, whatever is at its path by now. */
  admitFile(file: FileHandle): Promise<void>;
}
