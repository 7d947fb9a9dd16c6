import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { exportNameOf, folderOf, idOfImage, idOfPartial, imageName } from './export-folder.js';
import { fitImages } from './fit-images.js';
import { type FoundImage, inspectFound, readOwnEntry } from './found-image.js';
import { type ImageEntry, MANIFEST_FORMAT, type Manifest } from './manifest-format.js';

export interface RebuildOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (exportName: string, done: number, total: number) => void;
}

/** What a manifest would be that is made from the images, and from an older one where that is sound. */
export interface Rebuilt {
  readonly manifest: Manifest;
  /** Whether it says something else than the older one. */
  readonly isNew: boolean;
  /** Files that are no restore points: by name, why. */
  readonly leftOut: ReadonlyMap<string, string>;
  /** Images of the older manifest that are not there, and on which nothing lies. */
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
    const gone = this.keepWhatIsLiedOn();
    const exportName = this.older?.export ?? this.findExportName();
    this.leaveOutOthers(exportName);
    const { images: fitting, unfit } = fitImages(this.entries);
    for (const { id, missing } of unfit) this.leftOut.set(imageName(id), `lies on ${missing}, which is not there`);
    const pending = this.older ? this.older.pending : await this.findPending(files, exportName, fitting);
    const { merging } = this.older ?? {};
    const state = { ...(pending && { pending }), ...(merging && { merging }) };
    const manifest: Manifest = { format: MANIFEST_FORMAT, export: exportName, images: fitting, ...state };
    const isNew = JSON.stringify(manifest) !== JSON.stringify(this.older);
    return { manifest, isNew, leftOut: this.leftOut, gone };
  }

  private async take(name: string): Promise<void> {
    const id = idOfImage(name);
    if (id === undefined) return void this.leftOut.set(name, 'its name is not that of a restore point');
    const listed = this.older?.images.find((image) => image.id === id);
    if (listed && (await this.agrees(name, listed))) return void this.entries.push(listed);
    const found = await inspectFound(join(this.folder, name), id, this.options.signal);
    // What is listed stays so unless the image is sound, and says something else of itself.
    if (listed && !isSound(found)) return void this.entries.push(listed);
    if ('problem' in found) return void this.leftOut.set(name, found.problem);
    this.entries.push(found.entry);
    if (found.exportName !== undefined) this.names.set(id, found.exportName);
  }

  /** Whether an image is the one that the older manifest, or a merge that was interrupted, tells of. Reads little. */
  private async agrees(name: string, listed: ImageEntry): Promise<boolean> {
    const own = await readOwnEntry(join(this.folder, name)).catch(() => 'damaged' as const);
    if (!own || own === 'damaged') return true;
    const merged = this.older?.merging?.image;
    const { checksum } = own.entry;
    return checksum === listed.checksum || (merged?.id === listed.id && checksum === merged.checksum);
  }

  /** Images that are missing stay listed while others lie on them: verify tells what that means. Returns the others. */
  private keepWhatIsLiedOn(): string[] {
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

  /** The name in the images, if they agree or one fits the folder; else that of the folder. */
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

  /** An image that is complete, but perhaps not committed: the next pull asks the server. */
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
