import { setTimeout as delay } from 'node:timers/promises';
import { AgentError, isSystemError } from './agent-error.js';
import { ExportFolder } from './export-folder.js';
import type { ImageEntry } from './manifest-format.js';
import { InUseError } from './take-lock.js';

/** The result of checking one image, regardless of those below it. */
export interface Finding {
  readonly image: ImageEntry;
  /** Undefined if all of the image was read and is good. */
  readonly problem: string | undefined;
  /** When it was found, in ISO 8601. */
  readonly at: string;
}

/** Long enough for a short pull to end, but not so long that the user waits for a long one. */
const PATIENCE_MILLISECONDS = 10_000;
const PAUSE_MILLISECONDS = 200;

/**
 * Records damaged images in the manifest, and when good ones were read. A record of damage is removed from images that
 * are good now. The entry of an image that was replaced by a merge meanwhile stays unchanged. Returns why the findings
 * could not be recorded, if they were not.
 */
export async function recordFindings(
  path: string,
  exportName: string,
  findings: readonly Finding[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const news = findings.filter(isNew);
  if (news.length === 0) return undefined;
  try {
    await using folder = await openPatiently(path, exportName, signal);
    const { images, pending } = folder.manifest;
    await folder.save({ images: images.map((image) => apply(image, news)), pending });
    return undefined;
  } catch (error) {
    if (error instanceof AgentError || isSystemError(error)) return error.message;
    throw error;
  }
}

/** The same damage keeps its first date. Reading the file cannot disprove what `pull --prove` found. */
function isNew({ image: { damage }, problem }: Finding): boolean {
  return damage?.foundBy !== 'prove' && (problem === undefined || damage?.problem !== problem);
}

function apply(image: ImageEntry, news: readonly Finding[]): ImageEntry {
  const found = news.find((one) => one.image.id === image.id && one.image.checksum === image.checksum);
  if (!found) return image;
  const { damage: _, ...good } = image;
  if (found.problem === undefined) return { ...good, checkedAt: found.at };
  return { ...good, damage: { foundBy: 'verify', foundAt: found.at, problem: found.problem } };
}

/** Waits a little while another agent uses the folder. */
async function openPatiently(path: string, exportName: string, signal: AbortSignal): Promise<ExportFolder> {
  for (const deadline = performance.now() + PATIENCE_MILLISECONDS; ; ) {
    try {
      return await ExportFolder.open(path, exportName);
    } catch (error) {
      if (!(error instanceof InUseError) || performance.now() > deadline) throw error;
      await delay(PAUSE_MILLISECONDS, undefined, { signal });
    }
  }
}
