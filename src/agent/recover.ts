import { rm, stat } from 'node:fs/promises';
import { renameDurably } from '../posix/replacement.js';
import type { BackupService } from './backup-service.js';
import type { ExportFolder } from './export-folder.js';
import type { ImageEntry } from './manifest-format.js';

const ABANDONED = 'the agent that started it is gone';

/**
 * Cleans up after an agent that died. A complete image is kept if its backup was committed. Other unfinished images are
 * removed, and backups that are still active are aborted. Returns messages for the user.
 */
export async function recover(folder: ExportFolder, service: BackupService): Promise<string[]> {
  const notes: string[] = [];
  const { pending } = folder.manifest;
  if (pending) notes.push(await settlePending(folder, pending, service));
  for (const id of await folder.unfinishedIds()) {
    await abandon(service, id);
    await rm(folder.partialPath(id), { force: true });
    notes.push(`removed the unfinished image of backup ${id}`);
  }
  return notes;
}

async function settlePending(folder: ExportFolder, pending: ImageEntry, service: BackupService): Promise<string> {
  // The rename comes after the commit, so a file with the final name means that the backup was committed.
  const isRenamed = await stat(folder.imagePath(pending.id)).then(
    () => true,
    () => false,
  );
  const isCommitted = isRenamed || (await service.show(pending.id))?.state === 'committed';
  if (isCommitted) {
    await addImage(folder, pending);
    return `backup ${pending.id} was committed before its agent died; its image is kept`;
  }
  await abandon(service, pending.id);
  await rm(folder.partialPath(pending.id), { force: true });
  await folder.save({});
  return `removed the image of backup ${pending.id}, which was not committed`;
}

/** Makes a complete image a restore point: first renames it, then adds it to the manifest. */
export async function addImage(folder: ExportFolder, image: ImageEntry): Promise<void> {
  const [from, to] = [folder.partialPath(image.id), folder.imagePath(image.id)];
  const isThere = await stat(from).then(
    () => true,
    () => false,
  );
  if (isThere) await renameDurably(from, to);
  await folder.save({ images: [...folder.manifest.images, image] });
}

/** Aborts a dead agent's backup, so that its bitmap is free again. */
async function abandon(service: BackupService, id: string): Promise<void> {
  const backup = await service.show(id);
  if (backup?.state === 'active') await service.abort(id, ABANDONED);
}
