import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { Check } from 'typebox/value';
import { AgentError } from './agent-error.js';
import { replaceFile } from './durable-files.js';

export const MANIFEST_NAME = 'manifest.json';
export const MANIFEST_FORMAT = 1;

const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
/** Ids become names of files. */
const Id = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$' });

const Image = Type.Object({
  id: Id,
  /** The image below; null: it has everything. */
  base: Type.Union([Id, Type.Null()]),
  mode: Type.Union([Type.Literal('full'), Type.Literal('incremental')]),
  fullReason: Type.Optional(Type.Object({ code: Type.String(), detail: Type.String() })),
  /** The instant that it shows, in ISO 8601. */
  takenAt: Type.String(),
  durationSeconds: Type.Number(),
  /** Of the disk. */
  sizeBytes: Bytes,
  /** What the bitmap called dirty; of a full one, all of the disk. */
  dirtyBytes: Bytes,
  /** What was read over NBD. */
  readBytes: Bytes,
  /** Data and zero clusters that the image has. */
  dataBytes: Bytes,
  zeroBytes: Bytes,
  fileBytes: Bytes,
  /** Of the file: `crc32:` and eight hexadecimal digits. */
  checksum: Type.String({ pattern: '^crc32:[0-9a-f]{8}$' }),
});
export type ImageEntry = Static<typeof Image>;

const ManifestSchema = Type.Object({
  format: Type.Literal(MANIFEST_FORMAT),
  export: Type.String(),
  /** Restore points, the oldest first. */
  images: Type.Array(Image),
  /** An image that is complete, and whose backup was perhaps committed: whether it counts, the server knows. */
  pending: Type.Optional(Image),
  /** A merge under way: the new image of that id replaces the old one, and the images it `drops` are needed no more. */
  merging: Type.Optional(Type.Object({ image: Image, drops: Type.Array(Id) })),
});
export type Manifest = Static<typeof ManifestSchema>;

/** The manifest of an export's folder; undefined when there is none. @throws AgentError when it cannot be read */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = join(folder, MANIFEST_NAME);
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new AgentError(`${path} cannot be read: ${error.code}`, 'mend its rights, or the disk', { cause: error });
  });
  if (text === undefined) return undefined;
  const manifest = parse(text);
  if (Check(ManifestSchema, manifest)) return manifest;
  throw new AgentError(
    `${path} is no manifest that this tidemark understands`,
    'use the tidemark that wrote it, or move the folder away and begin with a full backup; the images can be read without it',
  );
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
