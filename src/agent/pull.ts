import { setMaxListeners } from 'node:events';
import { rm } from 'node:fs/promises';
import type { ReadInFull } from '../api/backup.js';
import { Cleanup } from '../base/cleanup.js';
import type { TlsDefaults } from '../client/find-tls-files.js';
import { AgentError } from './agent-error.js';
import type { Backup, BackupService } from './backup-service.js';
import { CommittedError, commitSurely, KeptImagesError } from './commit.js';
import { ExportFolder, folderOf } from './export-folder.js';
import { Lease } from './lease-renewal.js';
import { sayLosses } from './loss-observer.js';
import type { ImageEntry } from './manifest-format.js';
import { proveImage } from './prove-image.js';
import { explainFailure } from './pull-failure.js';
import { RateLimit } from './rate-limit.js';
import { addImage, recover } from './recover.js';
import { takeImage } from './take-image.js';
import { whyFull } from './why-full.js';

/** Short, because a dead agent leaves the bitmap frozen for this long. A living agent renews in time. */
const TTL_SECONDS = 300;
const DEFAULT_COMMIT_PATIENCE_SECONDS = 60;

/** Receives the progress of a pull. */
interface PullObserver {
  /** A message for the user about one export. */
  note(exportName: string, text: string): void;
  progress(exportName: string, doneBytes: number, totalBytes: number): void;
}

export interface PullRequest {
  readonly exports: readonly string[];
  readonly bitmap: string;
  /** Directory with a folder for each export. */
  readonly directory: string;
  readonly full: boolean;
  /** Number of connections to each export. */
  readonly connections: number;
  /** Do not read the live disk, even if it is on this machine. */
  readonly overNbd?: boolean;
  /** Afterwards read the whole disk and compare it with the chain. */
  readonly prove?: boolean;
  /** Certificates and keys for URIs that ask for TLS and name none. */
  readonly tls?: TlsDefaults;
  /** For all exports and connections together. Undefined for no limit. */
  readonly bytesPerSecond: number | undefined;
  /** How long to repeat the commit while the server does not answer. */
  readonly commitPatienceSeconds?: number;
  readonly signal: AbortSignal;
  readonly observer: PullObserver;
}

export interface PulledImage extends ImageEntry {
  readonly export: string;
  readonly path: string;
}

export interface PullResult {
  readonly id: string;
  readonly images: readonly PulledImage[];
}

/**
 * Makes one backup of several exports at the same instant. Each gets an image, on top of the newest one there if that
 * fits. The images become restore points only when all are complete, durable and committed. If anything fails before
 * that, the backup is aborted and its images are removed. @throws AgentError, NbdClientError, or the service's refusal
 */
export async function pull(request: PullRequest, service: BackupService): Promise<PullResult> {
  const { directory, bitmap, full, observer } = request;
  const exports = [...new Set(request.exports)];
  const cleanup = new Cleanup();
  try {
    const folders = new Map<string, ExportFolder>();
    for (const name of exports) {
      const folder = await ExportFolder.open(folderOf(directory, name), name);
      cleanup.defer(() => folder[Symbol.asyncDispose]());
      folders.set(name, folder);
      for (const note of await recover(folder, service)) observer.note(name, note);
    }
    request.signal.throwIfAborted();
    const backup = await service.begin({ exports, bitmap, full, ttlSeconds: TTL_SECONDS });
    const images: PulledImage[] = [];
    for (const draft of await takeBackup(request, service, backup, folders)) images.push(await addDraft(draft));
    return { id: backup.id, images };
  } catch (error) {
    throw await explainFailure(error, { service, signal: request.signal, directory });
  } finally {
    await cleanup.run();
  }
}

interface Draft {
  readonly folder: ExportFolder;
  readonly image: ImageEntry;
}

/** Makes the images and commits. If anything fails before the commit, the images are removed. */
async function takeBackup(
  request: PullRequest,
  service: BackupService,
  backup: Backup,
  folders: ReadonlyMap<string, ExportFolder>,
): Promise<Draft[]> {
  const lease = new Lease(service, backup);
  try {
    const drafts = await takeImages(request, backup, folders, lease);
    const seconds = request.commitPatienceSeconds ?? DEFAULT_COMMIT_PATIENCE_SECONDS;
    await commitSurely(service, backup.id, readInFull(backup, drafts), { seconds, signal: request.signal });
    return drafts;
  } catch (error) {
    // A lease can be lost because the backup is committed, by a commit whose answer was lost.
    const isKept = error instanceof KeptImagesError;
    const cause = lease.lost.aborted && !isKept ? lease.lost.reason : error;
    throw await explainFailure(cause, {
      service,
      signal: request.signal,
      directory: request.directory,
      backup,
      discard: () => discard(backup.id, folders.values()),
    });
  } finally {
    lease.stop();
  }
}

/**
 * The exports that were read in full although the server offered an increment, because it does not fit the images here.
 */
function readInFull({ exports }: Backup, drafts: readonly Draft[]): ReadInFull[] {
  const expected = new Map(exports.map((part) => [part.export, part.mode]));
  return drafts.flatMap(({ folder: { exportName }, image: { fullReason } }) =>
    fullReason && expected.get(exportName) === 'incremental' ? [{ export: exportName, ...fullReason }] : [],
  );
}

/** After the commit only the image has these changes, so a failure must not remove it. */
async function addDraft({ folder, image }: Draft): Promise<PulledImage> {
  try {
    await addImage(folder, image);
  } catch (cause) {
    throw new CommittedError(image.id, cause as Error);
  }
  return { export: folder.exportName, path: folder.imagePath(image.id), ...image };
}

/** Writes a complete, durable image of every export, and records in the manifests that they wait for the commit. */
async function takeImages(
  request: PullRequest,
  backup: Backup,
  folders: ReadonlyMap<string, ExportFolder>,
  lease: Lease,
): Promise<Draft[]> {
  const { observer, connections, overNbd = false, prove = false } = request;
  const signal = AbortSignal.any([request.signal, lease.lost]);
  // Every connection listens to this signal, and there may be many.
  setMaxListeners(0, signal);
  const limit = new RateLimit(request.bytesPerSecond);
  const drafts: Draft[] = [];
  for (const part of backup.exports) {
    if (part.uri === '') throw unreachable(part.export);
    const folder = folders.get(part.export)!;
    const why = await whyFull(folder, part);
    if (why) observer.note(part.export, `full backup: ${why.detail}`);
    const onProgress = (done: number, total: number) => {
      observer.progress(part.export, done, total);
      lease.report(part.export, done, total);
    };
    const reach = { tls: request.tls, observer: sayLosses((text) => observer.note(part.export, text)) };
    const how = { connections, overNbd, reach, limit, signal, onProgress };
    const image = await takeImage({ folder, backup, part, fullReason: why, ...how });
    const onProved = (done: number, total: number) => observer.progress(`${part.export}, compared`, done, total);
    const draft = { folder, part, image, ...how, onProgress: onProved };
    drafts.push({ folder, image: prove ? await proveImage(draft) : image });
  }
  signal.throwIfAborted();
  for (const { folder, image } of drafts) await folder.save({ pending: image });
  return drafts;
}

function unreachable(exportName: string): AgentError {
  const hint = 'start it with --listen ADDRESS:PORT, at the address of --control';
  return new AgentError(`the server has no NBD address for "${exportName}" that this machine can reach`, hint);
}

async function discard(id: string, folders: Iterable<ExportFolder>): Promise<void> {
  for (const folder of folders) {
    await rm(folder.partialPath(id), { force: true });
    if (folder.manifest.pending) await folder.save({});
  }
}
