import { rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { renameDurably } from '../posix/replacement.js';
import { AppendFile, createTarget } from '../qcow2/append-file.js';
import { Qcow2Chain } from '../qcow2/chain.js';
import { checkImage } from '../qcow2/check-image.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';
import { Qcow2Error } from '../qcow2/image-file.js';
import { Qcow2Writer, type WrittenBody } from '../qcow2/writer.js';
import { AgentError, isSystemError } from './agent-error.js';
import { ChainChecksums } from './chain-checksums.js';
import { type ChainCopyOptions, copyChain, startThreads } from './copy-chain.js';
import { ExportFolder, listBackups } from './export-folder.js';
import type { ImageThreads } from './image-threads.js';
import { findDamage, findDamageWithoutData } from './inspect-image.js';
import { needManifest } from './manifest.js';
import { chainOf, restsOnWord } from './manifest-chain.js';
import type { ImageEntry } from './manifest-format.js';
import { type EntryDraft, encodeOwnEntry } from './own-entry.js';
import type { ThreadSink } from './threaded-chain-copy.js';

export interface PruneOptions {
  /** How many of the newest restore points of each export to keep. */
  readonly keep: number;
  readonly signal: AbortSignal;
  readonly onProgress: (exportName: string, doneBytes: number, totalBytes: number) => void;
  readonly worthThreadsBytes?: ChainCopyOptions['worthThreadsBytes'];
}

export interface PrunedExport {
  readonly export: string;
  readonly kept: readonly string[];
  readonly dropped: readonly string[];
  /** The restore point that was turned into a full image; null if none had to be. */
  readonly merged: string | null;
  /** Bytes freed; negative if more space is used now. */
  readonly freedBytes: number;
  /** Why the export was left unchanged; null if it was pruned. */
  readonly problem: string | null;
}

/**
 * Keeps the newest restore points of every export, and drops the others. First the oldest one to keep is turned into a
 * full image: its image is rewritten from its whole chain, and replaces the old one by a rename. The images of the
 * chain are compared with their checksums as they are read. Before the rename nothing has changed; after it, the dropped images are not needed. So every kept restore point is there at all times.
 * An export is left unchanged if an image that it keeps, or one in the chain of the oldest of these, is not good.
 */
export async function prune(directory: string, options: PruneOptions): Promise<PrunedExport[]> {
  const results: PrunedExport[] = [];
  for (const path of await listBackups(directory)) results.push(await pruneUnlessBad(path, options));
  return results;
}

/** A folder that cannot be read or is in use does not stop the others from being pruned. */
async function pruneUnlessBad(path: string, options: PruneOptions): Promise<PrunedExport> {
  const opened = await openFolder(path).catch((error: unknown) => {
    if (error instanceof AgentError) return error;
    throw error;
  });
  if (opened instanceof AgentError) {
    const nothing = { kept: [], dropped: [], merged: null, freedBytes: 0 };
    return { export: basename(path), ...nothing, problem: opened.message };
  }
  await using folder = opened;
  try {
    return await pruneFolder(folder, options);
  } catch (error) {
    throw describe(error, folder, options.signal);
  }
}

async function openFolder(path: string): Promise<ExportFolder> {
  return await ExportFolder.open(path, (await needManifest(path)).export);
}

async function pruneFolder(folder: ExportFolder, options: PruneOptions): Promise<PrunedExport> {
  const { images } = folder.manifest;
  const drops = images.slice(0, Math.max(0, images.length - options.keep));
  const kept = images.slice(drops.length).map(({ id }) => id);
  const unchanged = { export: folder.exportName, kept, dropped: [], merged: null, freedBytes: 0, problem: null };
  if (drops.length === 0) return unchanged;
  const oldest = images[drops.length]!;
  const merged = mergedInto(folder, oldest);
  await using threads = startThreads(merged, options);
  try {
    await checkNeeded(folder, merged, images.slice(drops.length), options.signal);
    return { ...unchanged, ...(await dropImages(folder, oldest, drops, { ...options, threads })) };
  } catch (error) {
    if (!(error instanceof DamageError)) throw error;
    return { ...unchanged, kept: images.map(({ id }) => id), problem: error.message };
  } finally {
    await folder.settleMerge();
  }
}

/** An image that is needed is damaged. */
class DamageError extends Error {
  constructor({ id }: ImageEntry, damage: string) {
    super(`${id} is not good: ${damage}`);
  }
}

interface MergeOptions extends PruneOptions {
  readonly threads: ImageThreads | undefined;
}

/** The chain of the oldest image to keep, from the top down, if it has to be merged. */
function mergedInto(folder: ExportFolder, oldest: ImageEntry): ImageEntry[] {
  return oldest.base === null ? [] : chainOf(folder.manifest.images, oldest).chain;
}

/** Checks the images to keep and to merge. What is merged is read only while it is merged. @throws DamageError */
async function checkNeeded(
  folder: ExportFolder,
  merged: readonly ImageEntry[],
  kept: readonly ImageEntry[],
  signal: AbortSignal,
): Promise<void> {
  for (const image of new Set([...merged, ...kept])) {
    const find = merged.includes(image) ? findDamageWithoutData : findDamage;
    const damage = await find(folder.imagePath(image.id), image, signal);
    if (damage !== undefined) throw new DamageError(image, damage);
  }
}

async function dropImages(
  folder: ExportFolder,
  oldest: ImageEntry,
  drops: readonly ImageEntry[],
  options: MergeOptions,
): Promise<Pick<PrunedExport, 'dropped' | 'merged' | 'freedBytes'>> {
  const { pending } = folder.manifest;
  const dropped = drops.map(({ id }) => id);
  const isAlone = oldest.base === null;
  const image = isAlone ? oldest : await mergeInto(folder, oldest, options);
  await folder.save({ pending, merging: { image, drops: dropped } });
  if (!isAlone) await renameDurably(folder.partialPath(oldest.id, 'merging'), folder.imagePath(oldest.id));
  await folder.settleMerge();
  const droppedBytes = drops.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  return {
    dropped,
    merged: isAlone ? null : oldest.id,
    freedBytes: droppedBytes + oldest.fileBytes - image.fileBytes,
  };
}

/** Writes a full image from the chain of another, under a temporary name. Returns its entry. */
async function mergeInto(folder: ExportFolder, oldest: ImageEntry, options: MergeOptions): Promise<ImageEntry> {
  const path = folder.partialPath(oldest.id, 'merging');
  const file = new AppendFile(await createTarget(path));
  const { signal } = options;
  try {
    const writer = new Qcow2Writer(file, oldest.sizeBytes);
    await copyChecked(folder, oldest, sinkOf(writer, file), options);
    let draft: EntryDraft | undefined;
    const { checksum } = await writer.finish((body) => {
      draft = describeMerged(folder, oldest, body);
      return encodeOwnEntry(folder.exportName, draft, body.bodyChecksum);
    });
    await checkImage(path, signal);
    return { ...draft!, checksum };
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** Copies the chain of an image, and compares its images with their checksums. @throws DamageError */
async function copyChecked(
  folder: ExportFolder,
  oldest: ImageEntry,
  sink: ThreadSink,
  { signal, threads, onProgress }: MergeOptions,
): Promise<void> {
  const entries = mergedInto(folder, oldest);
  const copyOptions: ChainCopyOptions = { signal, onProgress: (...args) => onProgress(folder.exportName, ...args) };
  try {
    await using chain = await Qcow2Chain.open(folder.imagePath(oldest.id));
    const checksums = new ChainChecksums(chain);
    await copyChain(chain, sink, copyOptions, { threads, checksums });
    for (const image of entries) checksums.expect(folder.imagePath(image.id), image);
  } catch (error) {
    const damaged = error instanceof Qcow2Error && entries.find(({ id }) => folder.imagePath(id) === error.path);
    throw damaged ? new DamageError(damaged, error.problem) : error;
  }
}

function sinkOf(writer: Qcow2Writer, file: AppendFile): ThreadSink {
  return {
    write: (offset, data) => writer.write(offset, data),
    zero: (offset, length) => writer.zero(offset, length),
    async copyInThreads(threads, parts) {
      const { positions, hashes } = await threads.copyToImage(parts, file);
      let first = 0;
      return ({ offset, length }) => {
        const end = first + length / CLUSTER_BYTES;
        writer.place(offset, { positions: positions.subarray(first, end), hashes: hashes.subarray(first, end) });
        first = end;
      };
    },
  };
}

function describeMerged(
  folder: ExportFolder,
  oldest: ImageEntry,
  { bodyChecksum: _, ...body }: WrittenBody,
): EntryDraft {
  const { fullReason, baseAsserted, damage, checksum, ...entry } = oldest;
  const isWord = restsOnWord(folder.manifest.images, oldest);
  return { ...entry, ...(isWord && { baseAsserted: true }), base: null, mode: 'full', ...body };
}

function describe(error: unknown, folder: ExportFolder, signal: AbortSignal): unknown {
  if (signal.aborted) return new AgentError('interrupted: every restore point is still there', 'run it again');
  if (!isSystemError(error)) return error;
  const what = error.code === 'ENOSPC' ? `not enough space in ${folder.path}` : `${folder.path}: ${error.message}`;
  return new AgentError(what, 'a merge needs space for one full image; every restore point is still there', {
    cause: error,
  });
}
