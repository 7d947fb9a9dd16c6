import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../../base/replacement.js';
import { AgentError } from './agent-error.js';
import { isManifest, type Manifest } from './manifest-format.js';

export const MANIFEST_NAME = 'manifest.json';

/** The manifest of an export's folder; undefined when there is none. @throws AgentError when it cannot be read */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = join(folder, MANIFEST_NAME);
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new AgentError(`${path} cannot be read: ${error.code}`, 'mend its rights, or the disk', { cause: error });
  });
  if (text === undefined) return undefined;
  const manifest = parse(text);
  if (isManifest(manifest)) return manifest;
  throw new AgentError(
    `${path} is no manifest that this tidemark understands`,
    'use the tidemark that wrote it, or move the folder away and begin with a full backup; the images can be read without it',
  );
}

/** The same of a folder that has to have one. @throws AgentError */
export async function needManifest(folder: string): Promise<Manifest> {
  const manifest = await readManifest(folder);
  if (manifest) return manifest;
  throw new AgentError(`${folder} has images and no manifest`, 'put the manifest back, or move the images away');
}

/** Atomic, and durable when it resolves. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await replaceFile(join(folder, MANIFEST_NAME), `${JSON.stringify(manifest, null, 2)}\n`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
