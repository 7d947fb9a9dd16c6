import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { exportNameOf, folderOf, idOfImage, idOfPartial, imageName } from './export-folder.js';
import { fitImages } from './fit-images.js';
import { type FoundImage, inspectFound, readOwnEntry } from './found-image.js';
import { formatDuring, type ImageEntry, type Manifest } from './manifest-format.js';

export interface RebuildOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (exportName: string, done: number, total: number) => void;
}

/** A manifest made from the images, and from the older manifest if that is valid. */
export interface Rebuilt {
  readonly manifest: Manifest;
  /** Whether it differs from the older one. */
  readonly isNew: boolean;
  /** Files that are not restore points, with the reason for each name. */
  readonly leftOut: ReadonlyMap<string, string>;
  /** Images of the older manifest that are missing, and that no other image needs. */
  readonly gone: readonly string[];
}

/** Reads the images of a folder. Changes nothing. */
export async function rebuildManifest(
  folder: string,
  older: Manifest | undefined,
  options: RebuildOptions,
): Promise<Rebuilt> {
  const rebuild = new Rebuild(folder, older, options);
  return await rebuild.run();
}

class Rebuild {
  private readonly leftOut = new Map<string, string>();
  private readonly names = new Map<string, string>();
  private readonly entries: ImageEntry[] = [];

  constructor(
    private readonly folder: string,
    private readonly older: Manifest | undefined,
    private readonly options: RebuildOptions,
  ) {}

  async run(): Promise<Rebuilt> {
    const files = (await readdir(this.folder)).sort();
    const images = files.filter((name) => name.endsWith('.qcow2') && !name.startsWith('.'));
    for (const [index, name] of images.entries()) {
      this.options.onProgress(basename(this.folder), index, images.length);
      this.options.signal.throwIfAborted();
      await this.take(name);
    }
    const gone = this.keepNeeded();
    const exportName = this.older?.export ?? this.findExportName();
    this.leaveOutOthers(exportName);
    const { images: fitting, unfit } = fitImages(this.entries);
    for (const { id, missing } of unfit) this.leftOut.set(imageName(id), `needs ${missing}, which is missing`);
    const pending = this.older ? this.older.pending : await this.findPending(files, exportName, fitting);
    const { merging } = this.older ?? {};
    const state = { ...(pending && { pending }), ...(merging && { merging }) };
    const manifest: Manifest = { format: formatDuring(merging), export: exportName, images: fitting, ...state };
    const isNew = JSON.stringify(manifest) !== JSON.stringify(this.older);
    return { manifest, isNew, leftOut: this.leftOut, gone };
  }

  private async take(name: string): Promise<void> {
    const id = idOfImage(name);
    if (id === undefined) return void this.leftOut.set(name, 'its name is not that of a restore point');
    const listed = this.older?.images.find((image) => image.id === id);
    if (listed && (await this.agrees(name, listed))) return void this.entries.push(listed);
    const found = await inspectFound(join(this.folder, name), id, this.options.signal);
    // A listed entry is replaced only if the image is good and carries a different one.
    if (listed && !isSound(found)) return void this.entries.push(listed);
    if ('problem' in found) return void this.leftOut.set(name, found.problem);
    this.entries.push(found.entry);
    if (found.exportName !== undefined) this.names.set(id, found.exportName);
  }

  /** Whether an image is the one in the older manifest or in an interrupted merge. Reads only its first cluster. */
  private async agrees(name: string, listed: ImageEntry): Promise<boolean> {
    const own = await readOwnEntry(join(this.folder, name)).catch(() => 'damaged' as const);
    if (!own || own === 'damaged') return true;
    const merged = this.older?.merging?.image;
    const { checksum } = own.entry;
    return checksum === listed.checksum || (merged?.id === listed.id && checksum === merged.checksum);
  }

  /**
   * Keeps missing images listed while others need them, so that verify can report them. Returns the other missing
   * images.
   */
  private keepNeeded(): string[] {
    const isThere = (id: string) => this.entries.some((entry) => entry.id === id);
    const missing = new Map(this.older?.images.filter(({ id }) => !isThere(id)).map((image) => [image.id, image]));
    for (const { base } of [...this.entries]) {
      for (let below = base; below !== null && missing.has(below); ) {
        const image = missing.get(below)!;
        this.entries.push(image);
        missing.delete(below);
        below = image.base;
      }
    }
    return [...missing.keys()];
  }

  /** The name in the images if it fits the folder or they agree on it; else the name of the folder. */
  private findExportName(): string {
    const names = [...new Set(this.names.values())];
    const here = basename(this.folder);
    const ofFolder = names.find((name) => basename(folderOf('.', name)) === here);
    return ofFolder ?? (names.length === 1 ? names[0]! : exportNameOf(this.folder));
  }

  private leaveOutOthers(exportName: string): void {
    for (const [id, name] of this.names) {
      if (name === exportName) continue;
      this.leftOut.set(imageName(id), `belongs to the export "${name}"`);
      this.entries.splice(
        this.entries.findIndex((entry) => entry.id === id),
        1,
      );
    }
  }

  /** Finds a complete image that may not be committed. The next pull asks the server about it. */
  private async findPending(
    files: readonly string[],
    exportName: string,
    images: readonly ImageEntry[],
  ): Promise<ImageEntry | undefined> {
    const complete: ImageEntry[] = [];
    for (const name of files) {
      const id = idOfPartial(name);
      if (id === undefined) continue;
      const found = await inspectFound(join(this.folder, name), id, this.options.signal);
      if (!isSound(found) || found.entry.measured || found.exportName !== exportName) continue;
      const { base } = found.entry;
      if (base === null || images.at(-1)?.id === base) complete.push(found.entry);
    }
    return complete.length === 1 ? complete[0] : undefined;
  }
}

function isSound(found: FoundImage): found is Extract<FoundImage, { entry: ImageEntry }> {
  return 'entry' in found && !found.entry.damage;
}
