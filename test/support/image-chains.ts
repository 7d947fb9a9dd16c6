import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageEntry, MANIFEST_FORMAT } from '../../src/agent/manifest-format.js';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { type ClusterContent, randomContents, writeImage } from './qcow2-files.js';
import type { Random } from './random.js';
import { scratchFolder } from './scratch-folder.js';

/** An image of a chain to be written: the base is the index of an image before it. */
export interface PlannedImage {
  readonly sizeBytes: number;
  readonly base: number | null;
  readonly contents: readonly ClusterContent[];
  readonly takenAt: string;
}

/** The ID of the image with this index. */
export function idAt(index: number): string {
  return `image-${String(index).padStart(3, '0')}`;
}

/** Writes the images of the export `disk` and their manifest to a new directory. */
export async function writeChain(images: readonly PlannedImage[]): Promise<string> {
  const directory = scratchFolder();
  const folder = join(directory, 'disk');
  mkdirSync(folder);
  const entries: ImageEntry[] = [];
  for (const [index, { sizeBytes, base, contents, takenAt }] of images.entries()) {
    const id = idAt(index);
    const backing = base === null ? undefined : `${idAt(base)}.qcow2`;
    const written = await writeImage(join(folder, `${id}.qcow2`), sizeBytes, contents, backing);
    const { fileBytes, dataBytes, zeroBytes, checksum } = written;
    const sizes = {
      sizeBytes,
      fileBytes,
      dataBytes,
      zeroBytes,
      dirtyBytes: dataBytes + zeroBytes,
      readBytes: dataBytes,
    };
    const mode = base === null ? 'full' : 'incremental';
    entries.push({
      id,
      base: base === null ? null : idAt(base),
      mode,
      takenAt,
      durationSeconds: 1,
      ...sizes,
      checksum,
    });
  }
  writeFileSync(
    join(folder, 'manifest.json'),
    JSON.stringify({ format: MANIFEST_FORMAT, export: 'disk', images: entries }),
  );
  return directory;
}

const DAY_MILLISECONDS = 86_400_000;

/** Chains with branches, of disks that grow and shrink, also to a part of a cluster. Several images can be of one day. */
export function randomImages(random: Random): PlannedImage[] {
  const images: PlannedImage[] = [];
  const count = 3 + random.below(7);
  const sizes = Array.from({ length: 3 }, () => randomSize(random));
  let time = Date.parse('2026-03-01T12:00:00Z');
  for (let index = 0; index < count; index++) {
    const base = index === 0 || random.chance(8) ? null : random.chance(6) ? random.below(index) : index - 1;
    const sizeBytes = random.chance(2) ? sizes[0]! : random.pick(sizes);
    const all = randomContents(random, Math.ceil(sizeBytes / CLUSTER_BYTES));
    // Many increments have little, so that the images below them show.
    const contents = base === null || random.chance(3) ? all : all.slice(0, random.below(4));
    time += random.chance(2) ? DAY_MILLISECONDS : 1000;
    images.push({ sizeBytes, base, contents, takenAt: new Date(time).toISOString() });
  }
  return images;
}

function randomSize(random: Random): number {
  const clusters = 1 + random.below(24);
  return clusters * CLUSTER_BYTES - (random.chance(3) ? 512 * random.below(128) : 0);
}
