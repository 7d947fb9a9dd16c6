import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { isSystemError } from '../../../src/agent/agent-error.js';
import { Qcow2Chain } from '../../../src/qcow2/chain.js';
import { checkImage } from '../../../src/qcow2/check-image.js';
import { CLUSTER_BYTES } from '../../../src/qcow2/clusters.js';
import { Qcow2Error } from '../../../src/qcow2/image-file.js';
import { writeImage } from '../../support/qcow2-files.js';
import type { Random } from '../../support/random.js';
import { oddUint32, oddUint64, randomBytes } from '../odd-values.js';
import type { Target } from '../target.js';

interface Patch {
  readonly at: number;
  readonly bytes: Buffer;
}

interface SpoiledImage {
  readonly image: number;
  readonly patches: readonly Patch[];
}

const NAMES = ['full.qcow2', 'next.qcow2', 'last.qcow2'];
const DISK_CLUSTERS = 6;
const FILES_PER_ITERATION = 8;
/** The offsets of the header's fields. Those of 64 bits are in the list twice. */
const HEADER_FIELDS = [
  0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72, 76, 80, 84, 88, 92, 96, 100,
];

/** Images with changed headers and tables. Each must be read, or refused as damaged. */
export class Qcow2Target implements Target<readonly SpoiledImage[]> {
  readonly name = 'qcow2';
  readonly isLocal = true;

  private constructor(
    private readonly folder: string,
    private readonly files: readonly FileHandle[],
    private readonly fileBytes: readonly number[],
  ) {}

  static async prepare(folder: string): Promise<Qcow2Target> {
    const sizeBytes = DISK_CLUSTERS * CLUSTER_BYTES;
    const path = (image: number) => join(folder, NAMES[image]!);
    await writeImage(path(0), sizeBytes, [1, 2, 'zero', 3, 'skip', 4]);
    await writeImage(path(1), sizeBytes, ['skip', 5, 6, 'zero', 'skip', 'skip'], NAMES[0]);
    await writeImage(path(2), sizeBytes, ['skip', 'skip', 'skip', 7, 8, 'zero'], NAMES[1]);
    const files = await Promise.all(NAMES.map((_, image) => open(path(image), 'r+')));
    const sizes = await Promise.all(files.map(async (file) => (await file.stat()).size));
    return new Qcow2Target(folder, files, sizes);
  }

  plan(random: Random): SpoiledImage[] {
    return Array.from({ length: FILES_PER_ITERATION }, () => {
      const image = random.below(NAMES.length);
      return { image, patches: Array.from({ length: 1 + random.below(3) }, () => this.planPatch(random, image)) };
    });
  }

  async run(spoiled: readonly SpoiledImage[]): Promise<number> {
    for (const { image, patches } of spoiled) await this.readSpoiled(image, patches);
    return spoiled.length;
  }

  async close(): Promise<void> {
    await Promise.all(this.files.map((file) => file.close()));
  }

  /** A change in the header, its extensions or the name after it, in an entry of any table, or anywhere. */
  private planPatch(random: Random, image: number): Patch {
    const kind = random.below(5);
    if (kind < 2) return { at: random.pick(HEADER_FIELDS), bytes: number32(oddUint32(random)) };
    if (kind === 2) return { at: 96 + random.below(160), bytes: randomBytes(random, 1 + random.below(8)) };
    const clusters = this.fileBytes[image]! / CLUSTER_BYTES;
    const entry = random.below(clusters) * CLUSTER_BYTES + 8 * random.below(DISK_CLUSTERS + 2);
    if (kind === 3) return { at: entry, bytes: number64(this.oddEntry(random, clusters)) };
    return { at: random.below(this.fileBytes[image]!), bytes: randomBytes(random, 1 + random.below(16)) };
  }

  /** A value that may be an offset in the file, with or without flags. */
  private oddEntry(random: Random, clusters: number): bigint {
    if (random.chance(3)) return oddUint64(random);
    const offset = BigInt(random.below(clusters + 2)) * BigInt(CLUSTER_BYTES);
    return offset | (random.chance(2) ? 1n << 63n : 0n) | (random.chance(4) ? 1n : 0n);
  }

  private async readSpoiled(image: number, patches: readonly Patch[]): Promise<void> {
    const file = this.files[image]!;
    const before: Patch[] = [];
    for (const { at, bytes } of patches) {
      const old = Buffer.alloc(bytes.length);
      const { bytesRead } = await file.read(old, 0, old.length, at);
      before.push({ at, bytes: old.subarray(0, bytesRead) });
      await file.write(bytes, 0, bytesRead, at);
    }
    await passOrRefuse(() => checkImage(join(this.folder, NAMES[image]!)));
    await passOrRefuse(() => this.readChain());
    for (const { at, bytes } of before.reverse()) await file.write(bytes, 0, bytes.length, at);
  }

  private async readChain(): Promise<void> {
    await using chain = await Qcow2Chain.open(join(this.folder, NAMES.at(-1)!));
    let reached = 0;
    for await (const { offset, length, image, fileOffset } of chain.runs()) {
      const isInside = fileOffset >= 0 && fileOffset + length <= (image?.fileBytes ?? Number.POSITIVE_INFINITY);
      if (!isInside) throw new Error(`a run of ${length} bytes lies at ${fileOffset} of its file`);
      if (offset !== reached) throw new Error(`a run begins at ${offset}, the one before ended at ${reached}`);
      reached = offset + length;
    }
    if (reached !== chain.sizeBytes) throw new Error(`runs end at ${reached} of ${chain.sizeBytes} bytes`);
  }
}

async function passOrRefuse(read: () => Promise<unknown>): Promise<void> {
  try {
    await read();
  } catch (error) {
    if (!(error instanceof Qcow2Error || isSystemError(error))) throw error;
  }
}

function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function number64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}
