import { basename } from 'node:path';
import type { FullReason } from '../api/backup.js';
import { NbdOptionError } from '../client/errors.js';
import { OptionError } from '../protocol/constants.js';
import { createTarget } from '../qcow2/append-file.js';
import { checkImage } from '../qcow2/check-image.js';
import { AgentError } from './agent-error.js';
import type { Backup, BackupPart } from './backup-service.js';
import { type CopiedBody, copyView } from './copy-view.js';
import type { ExportFolder } from './export-folder.js';
import type { ImageEntry } from './manifest-format.js';
import { type EntryDraft, encodeOwnEntry } from './own-entry.js';
import type { RateLimit } from './rate-limit.js';
import { type ReachOptions, ViewReader } from './view-reader.js';

export interface TakeOptions {
  readonly folder: ExportFolder;
  readonly backup: Backup;
  readonly part: BackupPart;
  /** Undefined for an increment on top of the newest image. */
  readonly fullReason: FullReason | undefined;
  readonly connections: number;
  readonly overNbd: boolean;
  readonly reach: ReachOptions;
  readonly limit: RateLimit;
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/** Writes the image of one export under its temporary name. The image is durable and checked when this resolves. */
export async function takeImage(options: TakeOptions): Promise<ImageEntry> {
  const { folder, backup, part, fullReason, limit, signal, onProgress } = options;
  const started = performance.now();
  const base = fullReason ? null : part.base;
  const path = folder.partialPath(backup.id);
  // Created first: if this process dies, the next pull knows from the file which backup to abort.
  const target = await createTarget(path);
  const reader = await openView(options).catch(async (error) => {
    await target.close();
    throw error;
  });
  try {
    const backingName = base === null ? undefined : basename(folder.imagePath(base));
    let draft: EntryDraft | undefined;
    const noteOf = (copied: CopiedBody) => {
      const durationSeconds = Math.round(performance.now() - started) / 1000;
      draft = describeImage(options, { durationSeconds, sizeBytes: reader.sizeBytes, ...copied });
      return encodeOwnEntry(folder.exportName, draft, copied.bodyChecksum);
    };
    const { checksum } = await copyView(reader, { target, backingName, noteOf, limit, signal, onProgress });
    await checkImage(path, signal);
    return { ...draft!, checksum };
  } finally {
    await reader[Symbol.asyncDispose]();
  }
}

type Taken = CopiedBody & Pick<EntryDraft, 'durationSeconds' | 'sizeBytes'>;

function describeImage({ backup, part, fullReason }: TakeOptions, taken: Taken): EntryDraft {
  const { bodyChecksum: _, ...facts } = taken;
  const { origin } = part;
  const base = fullReason ? null : part.base;
  return {
    id: backup.id,
    base,
    mode: base === null ? 'full' : 'incremental',
    ...(fullReason && { fullReason }),
    ...(origin && { origin }),
    ...(origin && base !== null && { baseAsserted: true }),
    takenAt: backup.startedAt,
    ...facts,
  };
}

const NEEDS_PROOF =
  'the server shows a view to clients with the right backup, and NBD takes no tokens: ' +
  'give a certificate or a key with --tls-certificates or --tls-psk';

async function openView(options: TakeOptions): Promise<ViewReader> {
  try {
    return await connectToView(options);
  } catch (error) {
    if (options.part.origin !== undefined || !isHidden(error)) throw error;
    throw new AgentError(error.message, NEEDS_PROOF, { cause: error });
  }
}

function isHidden(error: unknown): error is NbdOptionError {
  return error instanceof NbdOptionError && error.error === OptionError.UNKNOWN;
}

function connectToView(options: TakeOptions): Promise<ViewReader> {
  const { part, fullReason, connections, overNbd, reach, signal } = options;
  const dirtyContext = fullReason ? undefined : part.context;
  const neededContext = part.origin?.context ?? dirtyContext;
  return ViewReader.open({
    ...reach,
    uri: part.uri,
    isView: part.origin === undefined,
    dirtyContext,
    neededContext,
    connections,
    disk: overNbd ? undefined : part.disk,
    signal,
  });
}
