import { AgentError } from '../agent-error.js';
import { currentImages, listBackups } from '../export-folder.js';
import { needManifest } from '../manifest.js';
import type { Manifest } from '../manifest-format.js';

/** The manifests of a directory by their folders. */
export type Manifests = ReadonlyMap<string, Manifest>;

/** Reads all manifests, with their current images. A folder that cannot be read does not stop the others. */
export async function readManifests(
  directory: string,
): Promise<{ manifests: Manifests; unread: readonly { readonly path: string; readonly problem: string }[] }> {
  const manifests = new Map<string, Manifest>();
  const unread: { path: string; problem: string }[] = [];
  for (const path of await listBackups(directory)) {
    try {
      const manifest = await needManifest(path);
      manifests.set(path, { ...manifest, images: await currentImages(path, manifest) });
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      unread.push({ path, problem: error.message });
    }
  }
  return { manifests, unread };
}
