import { basename } from 'node:path';
import { AgentError } from './agent-error.js';
import { currentImages, imagePath, listBackups } from './export-folder.js';
import { checkByQemu, findDamage } from './inspect-image.js';
import { needManifest } from './manifest.js';
import { findBroken, restsOnWord } from './manifest-chain.js';
import type { ImageEntry } from './manifest-format.js';
import { type Finding, recordFindings } from './record-findings.js';

interface VerifiedPoint {
  readonly id: string;
  readonly takenAt: string;
  readonly mode: ImageEntry['mode'];
  readonly sizeBytes: number;
  readonly fileBytes: number;
  /** Why this point cannot be restored; null if it can. */
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
  readonly exports: readonly VerifiedExport[];
}

export interface VerifyOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (exportName: string, doneBytes: number, totalBytes: number) => void;
}

/**
 * Checks every image in a directory, and says which restore points are good. Damaged images are recorded in the
 * manifests until they are found good, so that no pull builds on them. Changes nothing else.
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
      // QEMU opens the whole chain, so its check is useful only if the images below are good.
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
