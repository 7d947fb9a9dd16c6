import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes durable which files a folder has. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Gives a file another name, durably; what had that name goes. */
export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolder(dirname(to));
}

/** Gives a file that content, or leaves it as it was. */
export async function replaceFile(path: string, content: string): Promise<void> {
  const temporary = `${path}.new`;
  try {
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await renameDurably(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
