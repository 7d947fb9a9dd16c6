import { setTimeout as delay } from 'node:timers/promises';
import { AgentError, isSystemError } from './agent-error.js';
import { ExportFolder } from './export-folder.js';
import type { ImageEntry } from './manifest-format.js';
import { InUseError } from './take-lock.js';

/** What was found of one image, those below it apart. */
export interface Finding {
  readonly image: ImageEntry;
  /** Undefined: it is good. */
  readonly problem: string | undefined;
}

/** Long enough for a short pull to end; a long one would keep whoever asked waiting. */
const PATIENCE_MILLISECONDS = 10_000;
const PAUSE_MILLISECONDS = 200;

/**
 * Notes in the manifest which images are damaged, and takes back what an earlier check noted of those that are good now.
 * An image that is another by now, because it was merged meanwhile, keeps what is said of it. Returns why nothing could
 * be noted.
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

/** What `pull --prove` found of the data, no reading of the file can take back. */
function isNew({ image: { damage }, problem }: Finding): boolean {
  return damage?.foundBy !== 'prove' && damage?.problem !== problem;
}

function apply(image: ImageEntry, news: readonly Finding[]): ImageEntry {
  const found = news.find((one) => one.image.id === image.id && one.image.checksum === image.checksum);
  if (!found) return image;
  const { damage: _, ...good } = image;
  if (found.problem === undefined) return good;
  return { ...good, damage: { foundBy: 'verify', foundAt: new Date().toISOString(), problem: found.problem } };
}

/** While another agent works there, waits for it a little. */
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
