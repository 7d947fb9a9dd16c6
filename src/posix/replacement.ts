import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/*
 * How a file is put in the place of another, everywhere in tidemark. Others may be able to write to the folder, so:
 * - the new file has a name that nobody can foresee, and is made by O_EXCL, which follows no link and takes no file that is there;
 * - until it is complete only its owner may open it;
 * - it is durable before it gets its name, and its name before the caller goes on;
 * - what has the name afterwards is the file that was written, or the caller is told.
 */

const OWNER_ONLY = 0o600;
const NEW_FILE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const RANDOM_BYTES = 12;
const UNFINISHED = /^[0-9a-f]{24}\.new$/;

/** A file that was not there before, for its owner alone. @throws EEXIST */
export function createNewFile(path: string): Promise<FileHandle> {
  return open(path, NEW_FILE, OWNER_ONLY);
}

/** A file on its way to the place of another, or to a place that is free. */
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

  /** Gives the file that mode, and its place; both are durable when this resolves. */
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

  /** Whoever may write to the folder could have put another file in the place of the temporary one. */
  private async expectInPlace(): Promise<void> {
    const [written, found] = await Promise.all([this.file.stat({ bigint: true }), lstat(this.path, { bigint: true })]);
    if (written.dev === found.dev && written.ino === found.ino) return;
    const message = `${this.path} is another file than was written: somebody else changes its folder`;
    throw Object.assign(new Error(message), { code: 'ESTALE', syscall: 'rename' });
  }

  private async close(): Promise<void> {
    this.isOpen = false;
    await this.file.close();
  }
}

/** Gives a file that content, durably, or leaves what was there as it was. */
export async function replaceFile(path: string, content: string, mode = OWNER_ONLY): Promise<void> {
  await using replacement = await Replacement.begin(path);
  await replacement.file.writeFile(content);
  await replacement.commit(mode);
}

/** Removes what processes left that died while they replaced that file. The caller sees to it that none does so now. */
export async function removeUnfinished(path: string): Promise<void> {
  const [folder, prefix] = [dirname(path), `.${basename(path)}.`];
  for (const name of await readdir(folder)) {
    const isLeft = name.startsWith(prefix) && UNFINISHED.test(name.slice(prefix.length));
    // What belongs to another user of a shared folder stays.
    if (isLeft) await rm(join(folder, name), { force: true }).catch(() => {});
  }
}

/** Gives a file another name, durably; what had that name goes. */
export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolder(dirname(to));
}

/** Makes durable which files a folder has. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
