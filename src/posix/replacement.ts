import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/*
 * How tidemark replaces a file, everywhere. Other users may be able to write to the folder, so:
 * - The new file has an unpredictable name and is created with O_EXCL, which follows no link and opens no existing
 *   file.
 * - Until the file is complete, only its owner can open it.
 * - The file is durable before it is renamed, and the rename is durable before the caller continues.
 * - Afterwards the name refers to the file that was written. If it does not, the caller gets an error.
 */

const OWNER_ONLY = 0o600;
const NEW_FILE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const RANDOM_BYTES = 12;
const UNFINISHED = /^[0-9a-f]{24}\.new$/;

/** Creates a file that only its owner can access. @throws EEXIST if the name is taken */
export function createNewFile(path: string): Promise<FileHandle> {
  return open(path, NEW_FILE, OWNER_ONLY);
}

/** A new file that will replace another, or take a free name. */
export class Replacement implements AsyncDisposable {
  private isOpen = true;

  private constructor(
    readonly file: FileHandle,
    private readonly temporary: string,
    private readonly path: string,
  ) {}

  static async begin(path: string): Promise<Replacement> {
    const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(RANDOM_BYTES).toString('hex')}.new`);
    return new Replacement(await createNewFile(temporary), temporary, path);
  }

  /** Sets the mode and moves the file into place. Both are durable when this resolves. */
  async commit(mode = OWNER_ONLY): Promise<void> {
    await this.file.chmod(mode);
    await this.file.sync();
    await renameDurably(this.temporary, this.path);
    await this.expectInPlace();
    await this.close();
  }

  /** Removes the file unless it was committed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isOpen) return;
    await this.close().catch(() => {});
    await rm(this.temporary, { force: true });
  }

  /** Another user who can write to the folder could have replaced the temporary file. */
  private async expectInPlace(): Promise<void> {
    const [written, found] = await Promise.all([this.file.stat({ bigint: true }), lstat(this.path, { bigint: true })]);
    if (written.dev === found.dev && written.ino === found.ino) return;
    const message = `${this.path} is not the file that was written: another program is changing its folder`;
    throw Object.assign(new Error(message), { code: 'ESTALE', syscall: 'rename' });
  }

  private async close(): Promise<void> {
    this.isOpen = false;
    await this.file.close();
  }
}

/** Replaces the content of a file durably. If that fails, the old file stays as it was. */
export async function replaceFile(path: string, content: string, mode = OWNER_ONLY): Promise<void> {
  await using replacement = await Replacement.begin(path);
  await replacement.file.writeFile(content);
  await replacement.commit(mode);
}

/** Removes what is left of replacements of `path` that died midway. The caller ensures that none is running. */
export async function removeUnfinished(path: string): Promise<void> {
  const [folder, prefix] = [dirname(path), `.${basename(path)}.`];
  for (const name of await readdir(folder)) {
    const isLeft = name.startsWith(prefix) && UNFINISHED.test(name.slice(prefix.length));
    // In a shared folder, files of other users cannot be removed and stay.
    if (isLeft) await rm(join(folder, name), { force: true }).catch(() => {});
  }
}

/** Renames a file durably. A file that had the new name is replaced. */
export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolder(dirname(to));
}

/** Makes the entries of a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
