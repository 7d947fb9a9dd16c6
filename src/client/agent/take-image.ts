import { basename } from 'node:path';
import { createTarget } from '../qcow2/append-file.js';
import { checkImage } from '../qcow2/check-image.js';
import type { Backup, BackupPart, FullReason } from './backup-service.js';
import { copyView } from './copy-view.js';
import type { ExportFolder } from './export-folder.js';
import type { ImageEntry } from './manifest-format.js';
import type { RateLimit } from './rate-limit.js';
import { ViewReader } from './view-reader.js';

export interface TakeOptions {
  readonly folder: ExportFolder;
  readonly backup: Backup;
  readonly part: BackupPart;
  /** Undefined: what changed, on top of the newest image. */
  readonly fullReason: FullReason | undefined;
  readonly connections: number;
  readonly overNbd: boolean;
  readonly limit: RateLimit;
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/** Writes the image of one export under its temporary name, durable and checked. */
export async function takeImage(options: TakeOptions): Promise<ImageEntry> {
  const { folder, backup, part, fullReason, limit, signal, onProgress } = options;
  const started = performance.now();
  const base = fullReason ? null : part.base;
  const path = folder.partialPath(backup.id);
  // Before anything else: should this process die, its successor finds by the file which backup to abort.
  const target = await createTarget(path);
  const reader = await openView(options).catch(async (error) => {
    await target.close();
    throw error;
  });
  try {
    const backingName = base === null ? undefined : basename(folder.imagePath(base));
    const copied = await copyView(reader, { target, backingName, limit, signal, onProgress });
    await checkImage(path);
    return {
      id: backup.id,
      base,
      mode: base === null ? 'full' : 'incremental',
      ...(fullReason && { fullReason }),
      ...(part.origin && { origin: part.origin }),
      ...(part.origin && base !== null && { baseAsserted: true }),
      takenAt: backup.startedAt,
      durationSeconds: Math.round(performance.now() - started) / 1000,
      sizeBytes: reader.sizeBytes,
      dirtyBytes: copied.dirtyBytes,
      readBytes: copied.readBytes,
      dataBytes: copied.dataBytes,
      zeroBytes: copied.zeroBytes,
      fileBytes: copied.fileBytes,
      checksum: copied.checksum,
    };
  } finally {
    await reader[Symbol.asyncDispose]();
  }
}

function openView({ part, fullReason, connections, overNbd }: TakeOptions): Promise<ViewReader> {
  const dirtyContext = fullReason ? undefined : part.context;
  const neededContext = part.origin?.context ?? dirtyContext;
  return ViewReader.open({
    uri: part.uri,
    dirtyContext,
    neededContext,
    connections,
    disk: overNbd ? undefined : part.disk,
  });
}
