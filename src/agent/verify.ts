import { basename } from 'node:path';
import { AgentError } from './agent-error.js';
import { currentImages, imagePath, listBackups } from './export-folder.js';
import { checkByQemu, findDamage, findDamageWithoutData } from './inspect-image.js';
import { needManifest } from './manifest.js';
import { bytesOf, chainOf, findBroken, idsOnWord } from './manifest-chain.js';
import type { ImageEntry } from './manifest-format.js';
import { type Finding, recordFindings } from './record-findings.js';
import { chooseSample } from './verify-sample.js';

interface VerifiedPoint {
  readonly id: string;
  readonly takenAt: string;
  readonly mode: ImageEntry['mode'];
  readonly sizeBytes: number;
  readonly fileBytes: number;
  /** Whether this check covered its own image; with a sample, it does not cover all. */
  readonly read: boolean;
  /** When its own image was last read and found good, in ISO 8601; null if it never was. */
  readonly checkedAt: string | null;
  /** Why this point cannot be restored; null if nothing is wrong with what was read. */
  readonly problem: string | null;
  /** Whether it depends on an asserted base and has not been proven since. */
  readonly baseAsserted: boolean;
  /** Whether it was compared with the whole disk when it was taken. */
  readonly proven: boolean;
  /** Whether its checksum is from a repair, so that earlier changes cannot be detected. */
  readonly measured: boolean;
}

interface VerifiedExport {
  readonly export: string;
  readonly folder: string;
  /** Why the folder cannot be read; null if it can. */
  readonly problem: string | null;
  /** Restore points, the oldest first. */
  readonly points: readonly VerifiedPoint[];
  /** Why the findings could not be recorded in the manifest; null if they were. */
  readonly notRecorded: string | null;
}

export interface VerifyResult {
  readonly directory: string;
  /** Whether qemu-img also checked the images that were otherwise good. */
  readonly checkedByQemu: boolean;
  /** The share of each export that was read, in percent; null if everything was. */
  readonly samplePercent: number | null;
  readonly exports: readonly VerifiedExport[];
}

export interface VerifyOptions {
  /** Read only this share of each export, in percent: the images that were read the longest time ago. */
  readonly samplePercent?: number | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (exportName: string, doneBytes: number, totalBytes: number) => void;
}

/**
 * Checks every image in a directory, or a sample of them, and says which restore points are good. Records in the
 * manifests when each image was found good, and which ones are damaged, so that no pull builds on these. Changes nothing
 * else.
 */
export async function verify(directory: string, options: VerifyOptions): Promise<VerifyResult> {
  const verifier = new Verifier(options);
  const exports: VerifiedExport[] = [];
  for (const folder of await listBackups(directory)) exports.push(await verifier.verifyFolder(folder));
  const { samplePercent = null } = options;
  return { directory, checkedByQemu: !verifier.lacksQemu, samplePercent, exports };
}

interface VerifiedImages {
  readonly points: readonly VerifiedPoint[];
  readonly findings: readonly Finding[];
}

class Verifier {
  lacksQemu = false;

  constructor(private readonly options: VerifyOptions) {}

  async verifyFolder(folder: string): Promise<VerifiedExport> {
    try {
      const manifest = await needManifest(folder);
      const images = await currentImages(folder, manifest);
      const { points, findings } = await this.verifyImages(folder, manifest.export, images);
      const notRecorded = (await recordFindings(folder, manifest.export, findings, this.options.signal)) ?? null;
      return { export: manifest.export, folder, problem: null, points, notRecorded };
    } catch (error) {
      if (this.options.signal.aborted) throw new AgentError('interrupted: not all images were read', 'run it again');
      if (!(error instanceof AgentError)) throw error;
      return {
        export: basename(folder),
        folder,
        problem: `${error.message} (${error.hint})`,
        points: [],
        notRecorded: null,
      };
    }
  }

  private async verifyImages(folder: string, name: string, images: readonly ImageEntry[]): Promise<VerifiedImages> {
    const { signal, onProgress, samplePercent } = this.options;
    const sample = samplePercent === undefined ? new Set(images) : chooseSample(images, samplePercent);
    const newest = images.at(-1);
    const nextBase = new Set(newest && chainOf(images, newest).chain);
    const onWord = idsOnWord(images);
    const totalBytes = bytesOf(sample);
    const points = new Map<string, VerifiedPoint>();
    const findings: Finding[] = [];
    let doneBytes = 0;
    for (const image of images) {
      signal.throwIfAborted();
      const read = sample.has(image);
      const own = read
        ? await this.check(folder, image, points)
        : await this.checkUnread(folder, image, nextBase.has(image));
      const at = new Date().toISOString();
      if (read || own !== undefined) findings.push({ image, problem: own, at });
      const problem = own ?? findBroken(image, points) ?? null;
      const checkedAt = read && own === undefined ? at : (image.checkedAt ?? null);
      points.set(image.id, { ...describe(image), baseAsserted: onWord.has(image.id), read, checkedAt, problem });
      if (!read) continue;
      doneBytes += image.fileBytes;
      onProgress(name, doneBytes, totalBytes);
    }
    return { points: [...points.values()], findings };
  }

  /** Reads all of an image. QEMU opens the whole chain, so its check is useful only if the images below are good. */
  private async check(
    folder: string,
    image: ImageEntry,
    points: ReadonlyMap<string, VerifiedPoint>,
  ): Promise<string | undefined> {
    const damage = await findDamage(imagePath(folder, image.id), image, this.options.signal);
    if (damage !== undefined || findBroken(image, points) !== undefined) return damage;
    return await this.askQemu(folder, image);
  }

  /** What is known against an image, and if the next pull builds on it also what is wrong with its tables. */
  private async checkUnread(folder: string, image: ImageEntry, isNeeded: boolean): Promise<string | undefined> {
    if (image.damage || !isNeeded) return image.damage?.problem;
    return await findDamageWithoutData(imagePath(folder, image.id), image, this.options.signal);
  }

  private async askQemu(folder: string, { id }: ImageEntry): Promise<string | undefined> {
    const answer = await checkByQemu(imagePath(folder, id), this.options.signal);
    if (answer !== 'missing') return answer?.problem;
    this.lacksQemu = true;
    return undefined;
  }
}

function describe(image: ImageEntry) {
  const { id, takenAt, mode, sizeBytes, fileBytes, proven = false, measured = false } = image;
  return { id, takenAt, mode, sizeBytes, fileBytes, proven, measured };
}
