import { basename } from 'node:path';
import { AgentError } from './agent-error.js';
import { currentImages, imagePath, listBackups } from './export-folder.js';
import { checkByQemu, findDamage } from './inspect-image.js';
import { needManifest } from './manifest.js';
import { restsOnWord } from './manifest-chain.js';
import type { ImageEntry } from './manifest-format.js';
import { type Finding, recordFindings } from './record-findings.js';

interface VerifiedPoint {
  readonly id: string;
  readonly takenAt: string;
  readonly mode: 'full' | 'incremental';
  readonly sizeBytes: number;
  readonly fileBytes: number;
  /** Why the disk of that time cannot be had any more; null when it can. */
  readonly problem: string | null;
  /** Whether what it has rests on somebody's word about a bitmap, and was not proven since. */
  readonly baseAsserted: boolean;
  /** Whether it was compared with the whole disk when it was taken. */
  readonly proven: boolean;
  /** Whether its checksum is from a repair: what changed before that, nobody can tell. */
  readonly measured: boolean;
}

interface VerifiedExport {
  readonly export: string;
  readonly folder: string;
  /** Of the folder as a whole; null when it can be read. */
  readonly problem: string | null;
  /** Restore points, the oldest first. */
  readonly points: readonly VerifiedPoint[];
  /** Why the manifest does not say what was found; null when it does. */
  readonly notRecorded: string | null;
}

export interface VerifyResult {
  readonly directory: string;
  /** Whether qemu-img has looked at the images that are good so far, too. */
  readonly checkedByQemu: boolean;
  readonly exports: readonly VerifiedExport[];
}

export interface VerifyOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (exportName: string, doneBytes: number, totalBytes: number) => void;
}

/**
 * Reads every image of a directory, and tells which restore points are good. Damaged images are noted in the manifests,
 * so that no pull builds on them, until they are found good. Changes nothing else.
 */
export async function verify(directory: string, options: VerifyOptions): Promise<VerifyResult> {
  const verifier = new Verifier(options);
  const exports: VerifiedExport[] = [];
  for (const folder of await listBackups(directory)) exports.push(await verifier.verifyFolder(folder));
  return { directory, checkedByQemu: !verifier.lacksQemu, exports };
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
    const { signal, onProgress } = this.options;
    const totalBytes = images.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
    const points = new Map<string, VerifiedPoint>();
    const findings: Finding[] = [];
    let doneBytes = 0;
    for (const image of images) {
      signal.throwIfAborted();
      const damage = await findDamage(imagePath(folder, image.id), image, signal);
      const broken = damage === undefined ? findBroken(image, points) : undefined;
      // QEMU opens all of a chain, so it can say something only where that is good.
      const own = damage ?? (broken === undefined ? await this.askQemu(folder, image) : undefined);
      findings.push({ image, problem: own });
      const { id, takenAt, mode, sizeBytes, fileBytes, proven = false, measured = false } = image;
      const baseAsserted = restsOnWord(images, image);
      const facts = { id, takenAt, mode, sizeBytes, fileBytes, baseAsserted, proven, measured };
      points.set(id, { ...facts, problem: own ?? broken ?? null });
      doneBytes += fileBytes;
      onProgress(name, doneBytes, totalBytes);
    }
    return { points: [...points.values()], findings };
  }

  private async askQemu(folder: string, { id }: ImageEntry): Promise<string | undefined> {
    const answer = await checkByQemu(imagePath(folder, id), this.options.signal);
    if (answer !== 'missing') return answer?.problem;
    this.lacksQemu = true;
    return undefined;
  }
}

/** What is wrong with what an image lies on. */
function findBroken({ base }: ImageEntry, points: ReadonlyMap<string, VerifiedPoint>): string | undefined {
  if (base === null) return undefined;
  const below = points.get(base);
  if (!below) return `the image below, ${base}, is not in the manifest`;
  return below.problem === null ? undefined : `needs ${base}, which is not good`;
}
