import type { FullReason } from '../api/backup.js';
import type { BackupPart } from './backup-service.js';
import type { ExportFolder } from './export-folder.js';
import type { ImageEntry, ImageOrigin } from './manifest-format.js';

/** Says why an export has to be read in full; undefined if an increment fits on the newest image. */
export async function whyFull(folder: ExportFolder, part: BackupPart): Promise<FullReason | undefined> {
  if (part.mode === 'full') return part.fullReason ?? { code: 'unknown', detail: 'the server says so' };
  const { newest } = folder;
  if (!newest) return { code: 'nothing-here', detail: `${folder.path} has no image yet` };
  return (await folder.findBrokenLink()) ?? findMismatch(newest, part);
}

/** Says why the changes do not count from the newest image. */
function findMismatch(newest: ImageEntry, part: BackupPart): FullReason | undefined {
  const { base, origin } = part;
  if (base !== newest.id) {
    const detail = origin
      ? `--since says ${base}, and the newest image here is ${newest.id}`
      : `the bitmap counts from backup ${base}, and the newest image here is ${newest.id}; give each backup directory a bitmap of its own`;
    return { code: origin ? 'since-not-newest' : 'base-mismatch', detail };
  }
  if (isSameOrigin(newest.origin, origin)) return undefined;
  const detail = `the newest image here, ${newest.id}, is ${sayOrigin(newest.origin)}, and this one ${sayOrigin(origin)}`;
  return { code: 'other-origin', detail };
}

function isSameOrigin(one: ImageOrigin | undefined, other: ImageOrigin | undefined): boolean {
  return one?.uri === other?.uri && one?.context === other?.context;
}

function sayOrigin(origin: ImageOrigin | undefined): string {
  if (!origin) return 'a backup of a tidemark server';
  return `from ${origin.uri} by ${origin.context === null ? 'no context' : `"${origin.context}"`}`;
}
