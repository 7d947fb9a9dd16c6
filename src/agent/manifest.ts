import { dirname, join } from 'node:path';
import { isMissing } from '../base/errno.js';
import { MIB } from '../base/units.js';
import { openRegularFile } from '../posix/regular-files.js';
import { replaceFile } from '../posix/replacement.js';
import { AgentError } from './agent-error.js';
import { isManifest, isOfAnotherFormat, type Manifest, parseJson } from './manifest-format.js';

/** The file is not a valid manifest any more. */
export class DamagedManifestError extends AgentError {}

export const MANIFEST_NAME = 'manifest.json';
/** Larger than the manifest of any chain that can be restored. */
const MAX_MANIFEST_BYTES = 128 * MIB;

/** The manifest in an export's folder; undefined if there is none. @throws AgentError if it cannot be read */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = join(folder, MANIFEST_NAME);
  const text = await readText(folder, path).catch((error: NodeJS.ErrnoException) => {
    if (error instanceof AgentError) throw error;
    if (isMissing(error)) return undefined;
    throw new AgentError(`${path} cannot be read: ${error.code}`, 'fix its permissions, or check the disk', {
      cause: error,
    });
  });
  if (text === undefined) return undefined;
  const manifest = parseJson(text);
  if (isManifest(manifest)) return manifest;
  const message = `${path} is no manifest that this tidemark understands`;
  if (isOfAnotherFormat(manifest))
    throw new AgentError(message, 'use the tidemark that wrote it, or move it away and run tidemark repair');
  throw new DamagedManifestError(message, repairHint(folder));
}

/** Like `readManifest`, for a folder that must have a manifest. @throws AgentError */
export async function needManifest(folder: string): Promise<Manifest> {
  const manifest = await readManifest(folder);
  if (manifest) return manifest;
  throw new AgentError(`${folder} has images and no manifest`, repairHint(folder));
}

/** How to fix a lost or damaged manifest. */
export function repairHint(folder: string): string {
  return `tidemark repair ${dirname(folder)} rebuilds it from the images; you can also start a full backup in another directory`;
}

/** Atomic, and durable when it resolves. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await replaceFile(join(folder, MANIFEST_NAME), `${JSON.stringify(manifest, null, 2)}\n`);
}

async function readText(folder: string, path: string): Promise<string> {
  const file = await openRegularFile(path);
  if (!file) throw new DamagedManifestError(`${path} is not a regular file`, repairHint(folder));
  try {
    const { size } = await file.stat();
    if (size <= MAX_MANIFEST_BYTES) return await file.readFile('utf8');
    throw new DamagedManifestError(`${path} has ${size} bytes, too many for a manifest`, repairHint(folder));
  } finally {
    await file.close();
  }
}
