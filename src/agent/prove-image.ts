import { AgentError } from './agent-error.js';
import type { BackupPart } from './backup-service.js';
import type { ExportFolder } from './export-folder.js';
import { findDifference } from './find-difference.js';
import type { ImageEntry } from './manifest-format.js';
import { replaceOwnEntry } from './own-entry.js';
import type { RateLimit } from './rate-limit.js';
import { addImage } from './recover.js';

interface ProveOptions {
  readonly folder: ExportFolder;
  readonly part: BackupPart;
  /** Complete, under its temporary name. */
  readonly image: ImageEntry;
  readonly connections: number;
  readonly limit: RateLimit;
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Reads the whole disk and compares it with the chain that an image tops. An image that stands the test says so of
 * itself. One that does not is kept, and listed as damaged, so that nothing builds on it or calls it good.
 * @throws AgentError when it does not
 */
export async function proveImage(options: ProveOptions): Promise<ImageEntry> {
  const { folder, part, image, connections } = options;
  const path = folder.partialPath(image.id);
  const at = await findDifference(path, { uri: part.uri, connections }, options);
  if (at === undefined) return await replaceOwnEntry(path, folder.exportName, { ...image, proven: true });
  const problem = `it differs from the disk that it was taken of, at byte ${at}`;
  const damage = { foundBy: 'prove', foundAt: new Date().toISOString(), problem } as const;
  const disproved = await replaceOwnEntry(path, folder.exportName, { ...image, damage });
  // Should this process die now, the file has its name or the next pull removes it.
  await folder.save({ pending: disproved });
  await addImage(folder, disproved);
  throw new AgentError(
    `${folder.exportName}: the image ${image.id} is not good: ${problem}`,
    'it is kept, and listed as damaged; the next pull is full. Restore points below it may be wrong as well',
  );
}
