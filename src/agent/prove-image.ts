import { AgentError } from './agent-error.js';
import type { BackupPart } from './backup-service.js';
import type { ExportFolder } from './export-folder.js';
import { findDifference } from './find-difference.js';
import type { ImageEntry } from './manifest-format.js';
import { replaceOwnEntry } from './own-entry.js';
import type { RateLimit } from './rate-limit.js';
import { addImage } from './recover.js';
import type { ReachOptions } from './view-reader.js';

interface ProveOptions {
  readonly folder: ExportFolder;
  readonly part: BackupPart;
  /** Complete, but still under its temporary name. */
  readonly image: ImageEntry;
  readonly connections: number;
  readonly reach: ReachOptions;
  readonly limit: RateLimit;
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Reads the whole disk and compares it with the chain that ends in an image. If they are equal, the image's entry
 * records that. If not, the image is kept and listed as damaged, so that no pull builds on it.
 * @throws AgentError if they differ
 */
export async function proveImage(options: ProveOptions): Promise<ImageEntry> {
  const { folder, part, image, connections, reach } = options;
  const path = folder.partialPath(image.id);
  const source = { ...reach, uri: part.uri, isView: part.origin === undefined, connections };
  const at = await findDifference(path, source, options);
  if (at === undefined) return await replaceOwnEntry(path, folder.exportName, { ...image, proven: true });
  const problem = `it differs from the disk at byte ${at}`;
  const damage = { foundBy: 'prove', foundAt: new Date().toISOString(), problem } as const;
  const disproved = await replaceOwnEntry(path, folder.exportName, { ...image, damage });
  // If this process dies now, the file has its final name, or the next pull removes it.
  await folder.save({ pending: disproved });
  await addImage(folder, disproved);
  throw new AgentError(
    `${folder.exportName}: the image ${image.id} is not good: ${problem}`,
    'it is kept and listed as damaged, and the next pull will be full; older restore points in its chain may be wrong too',
  );
}
