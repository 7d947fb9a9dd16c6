import { renameDurably } from '../posix/replacement.js';
import { AgentError, isSystemError } from './agent-error.js';
import { type ChainCopyOptions, startThreads } from './copy-chain.js';
import { ExportFolder, exportNameOf } from './export-folder.js';
import type { ImageThreads } from './image-threads.js';
import { findDamage, findDamageWithoutData } from './inspect-image.js';
import { bytesOf } from './manifest-chain.js';
import type { ImageEntry } from './manifest-format.js';
import { DamageError, UnmergeableError, writeMerged } from './merge-images.js';
import { type Choice, choosePoints, goodIds, whyNoneIsGood } from './retention/choose.js';
import { type PlannedMerge, planMerges, unneeded, whyUnfit } from './retention/merges.js';
import type { RetentionPolicy } from './retention/policy.js';
import { type Manifests, readManifests } from './retention/read-manifests.js';

export interface PruneOptions {
  readonly policy: RetentionPolicy;
  readonly signal: AbortSignal;
  readonly onProgress: (exportName: string, doneBytes: number, totalBytes: number) => void;
  readonly worthThreadsBytes?: ChainCopyOptions['worthThreadsBytes'];
}

export interface PrunedExport {
  readonly export: string;
  readonly kept: readonly string[];
  readonly dropped: readonly string[];
  /** The restore points that were rewritten, because the image below them was dropped. */
  readonly merged: readonly string[];
  /** Bytes freed; negative if more space is used now. */
  readonly freedBytes: number;
  /** Why not everything was done; null if it was. */
  readonly problem: string | null;
}

/**
 * Keeps the restore points of every export that the policy chooses, and drops the others. An image that is kept while
 * the one below it is dropped is rewritten first: it takes in what lies between it and the nearest image that is kept,
 * or becomes a full image. The images that are read for that are compared with their checksums. Each rewritten image
 * replaces the old one by a rename. Before the rename nothing has changed; after it, the images that only it needed are
 * dropped. So every kept restore point is there at all times.
 * An export is left as it is from the moment on at which an image that is needed turns out to be damaged.
 */
export async function prune(directory: string, options: PruneOptions): Promise<PrunedExport[]> {
  const { manifests, unread } = await readManifests(directory);
  const results = unread.map(({ path, problem }) => leftUnchanged(exportNameOf(path), [], problem));
  for (const path of manifests.keys()) results.push(await pruneUnlessBad(path, manifests, options));
  return results.sort((one, other) => (one.export < other.export ? -1 : 1));
}

async function pruneUnlessBad(path: string, manifests: Manifests, options: PruneOptions): Promise<PrunedExport> {
  const { export: exportName, images } = manifests.get(path)!;
  const found = await ExportFolder.open(path, exportName).catch((error: unknown) => {
    if (error instanceof AgentError) return error;
    throw error;
  });
  if (found instanceof AgentError) return leftUnchanged(exportName, images, found.message);
  await using opened = found;
  try {
    // A pull may have added a restore point since the manifests were read.
    const now = new Map(manifests).set(path, opened.manifest);
    return await new FolderPrune(opened, options).run(choosePoints(now, options.policy).get(path)!);
  } catch (error) {
    throw describe(error, opened, options.signal);
  }
}

function leftUnchanged(exportName: string, images: readonly ImageEntry[], problem: string | null): PrunedExport {
  const kept = images.map(({ id }) => id);
  return { export: exportName, kept, dropped: [], merged: [], freedBytes: 0, problem };
}

class FolderPrune {
  private readonly merged: string[] = [];

  constructor(
    private readonly folder: ExportFolder,
    private readonly options: PruneOptions,
  ) {}

  async run(choices: readonly Choice[]): Promise<PrunedExport> {
    const { images } = this.folder.manifest;
    const kept = new Set(choices.filter(({ reasons }) => reasons.length > 0).map(({ image }) => image.id));
    const problem = whyNoneIsGood(images) ?? null;
    if (kept.size === images.length || problem !== null) return leftUnchanged(this.folder.exportName, images, problem);
    const merges = planMerges(images, kept);
    // They get ready while the images are checked.
    await using threads = startThreads(merges[0]?.run ?? [], this.options);
    try {
      await this.checkNeeded(kept, merges);
      for (const merge of merges) await this.merge(merge, kept, merge === merges[0] ? threads : undefined);
      await this.drop(unneeded(this.folder.manifest.images, kept));
      return this.describe(images, null);
    } catch (error) {
      if (!(error instanceof UnmergeableError)) throw error;
      return this.describe(images, error.message);
    } finally {
      await this.folder.settleMerge();
    }
  }

  /**
   * Checks the images to keep, except those already known not to be good, and those to merge. The latter are read only
   * while they are merged. @throws UnmergeableError
   */
  private async checkNeeded(kept: ReadonlySet<string>, merges: readonly PlannedMerge[]): Promise<void> {
    const { images } = this.folder.manifest;
    const unfit = merges.map(whyUnfit).find((why) => why !== undefined);
    if (unfit !== undefined) throw new UnmergeableError(unfit);
    const good = goodIds(images);
    const inRuns = new Set(merges.flatMap(({ run }) => run));
    for (const image of images) {
      if (!inRuns.has(image) && !(kept.has(image.id) && good.has(image.id))) continue;
      const find = inRuns.has(image) ? findDamageWithoutData : findDamage;
      const damage = await find(this.folder.imagePath(image.id), image, this.options.signal);
      if (damage !== undefined) throw new DamageError(image, damage);
    }
  }

  /** Rewrites an image, and drops what nothing else needs then. */
  private async merge(merge: PlannedMerge, kept: ReadonlySet<string>, threads?: ImageThreads): Promise<void> {
    const { folder, options } = this;
    const onProgress = (done: number, total: number) => options.onProgress(folder.exportName, done, total);
    const image = await writeMerged(folder, merge, { ...options, onProgress }, threads);
    const { images, pending } = folder.manifest;
    const after = images.map((one) => (one === merge.image ? image : one));
    const drops = unneeded(after, kept).map(({ id }) => id);
    await folder.save({ pending, merging: { image, drops } });
    await renameDurably(folder.partialPath(image.id, 'merging'), folder.imagePath(image.id));
    await folder.settleMerge();
    this.merged.push(image.id);
  }

  /** Drops images that nothing needs. */
  private async drop(drops: readonly ImageEntry[]): Promise<void> {
    if (drops.length === 0) return;
    const { images, pending } = this.folder.manifest;
    // A merge that is done already. The image is good, so that this can be seen from it.
    const good = goodIds(images);
    const image = images.find((one) => one.base === null && good.has(one.id) && !drops.includes(one))!;
    await this.folder.save({ pending, merging: { image, drops: drops.map(({ id }) => id) } });
    await this.folder.settleMerge();
  }

  private describe(before: readonly ImageEntry[], problem: string | null): PrunedExport {
    const { images } = this.folder.manifest;
    const kept = images.map(({ id }) => id);
    return {
      ...{ export: this.folder.exportName, kept, problem, merged: this.merged },
      dropped: before.map(({ id }) => id).filter((id) => !kept.includes(id)),
      freedBytes: bytesOf(before) - bytesOf(images),
    };
  }
}

function describe(error: unknown, folder: ExportFolder, signal: AbortSignal): unknown {
  if (signal.aborted) return new AgentError('interrupted: every restore point to keep is still there', 'run it again');
  if (!isSystemError(error)) return error;
  const what = error.code === 'ENOSPC' ? `not enough space in ${folder.path}` : `${folder.path}: ${error.message}`;
  const hint = 'a merge needs space for the image that it writes; every restore point to keep is still there';
  return new AgentError(what, hint, { cause: error });
}
