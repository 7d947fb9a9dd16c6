import { rm } from 'node:fs/promises';
import { AppendFile, createTarget } from '../qcow2/append-file.js';
import { Qcow2Chain } from '../qcow2/chain.js';
import { checkImage } from '../qcow2/check-image.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';
import { Qcow2Error } from '../qcow2/image-file.js';
import { Qcow2Writer, type WrittenBody } from '../qcow2/writer.js';
import { ChainChecksums } from './chain-checksums.js';
import { type ChainCopyOptions, copyChain, startThreads } from './copy-chain.js';
import { type ExportFolder, imageName } from './export-folder.js';
import type { ImageThreads } from './image-threads.js';
import { restsOnWord } from './manifest-chain.js';
import type { ImageEntry } from './manifest-format.js';
import { type EntryDraft, encodeOwnEntry } from './own-entry.js';
import type { PlannedMerge } from './retention/merges.js';
import type { ThreadSink } from './threaded-chain-copy.js';

/** Images cannot be merged as they are. */
export class UnmergeableError extends Error {}

/** An image that is needed is damaged. */
export class DamageError extends UnmergeableError {
  constructor({ id }: ImageEntry, damage: string) {
    super(`${id} is not good: ${damage}`);
  }
}

/**
 * Writes a merged image under its temporary name, and changes nothing else. The images of the run are compared with
 * their checksums as they are read. Resolves to the entry of the new image. Ends the threads. @throws DamageError
 */
export async function writeMerged(
  folder: ExportFolder,
  merge: PlannedMerge,
  options: ChainCopyOptions,
  started: ImageThreads | undefined = startThreads(merge.run, options),
): Promise<ImageEntry> {
  await using threads = started;
  const { image, onto } = merge;
  const path = folder.partialPath(image.id, 'merging');
  const file = new AppendFile(await createTarget(path));
  try {
    const writer = new Qcow2Writer(file, image.sizeBytes, onto ? imageName(onto.id) : undefined);
    await copyChecked(folder, merge, sinkOf(writer, file), options, threads);
    let draft: EntryDraft | undefined;
    const { checksum } = await writer.finish((body) => {
      draft = describeMerged(folder.manifest.images, merge, body);
      return encodeOwnEntry(folder.exportName, draft, body.bodyChecksum);
    });
    await checkImage(path, options.signal);
    return { ...draft!, checksum };
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** Copies what the run holds, and compares its images with their checksums. @throws DamageError */
async function copyChecked(
  folder: ExportFolder,
  { image, onto, run }: PlannedMerge,
  sink: ThreadSink,
  options: ChainCopyOptions,
  threads: ImageThreads | undefined,
): Promise<void> {
  try {
    await using chain = await Qcow2Chain.open(folder.imagePath(image.id), onto ? imageName(onto.id) : undefined);
    const checksums = new ChainChecksums(chain);
    await copyChain(chain, sink, options, { threads, checksums });
    for (const one of run) checksums.expect(folder.imagePath(one.id), one);
  } catch (error) {
    const damaged = error instanceof Qcow2Error && run.find(({ id }) => folder.imagePath(id) === error.path);
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
  images: readonly ImageEntry[],
  { image, onto, run }: PlannedMerge,
  { bodyChecksum: _, ...body }: WrittenBody,
): EntryDraft {
  const { fullReason, baseAsserted, damage, checkedAt, measured, checksum, ...entry } = image;
  // Of an increment, what lies below it still says for itself whether it rests on somebody's word.
  const isWord = restsOnWord(onto ? run : images, image);
  const dirtyBytes = run.reduce((sum, one) => sum + one.dirtyBytes, 0);
  return {
    ...entry,
    ...(isWord && { baseAsserted: true }),
    ...(run.some((one) => one.measured) && { measured: true }),
    base: onto?.id ?? null,
    mode: onto ? 'incremental' : 'full',
    dirtyBytes: onto ? Math.min(dirtyBytes, image.sizeBytes) : image.sizeBytes,
    ...body,
  };
}
