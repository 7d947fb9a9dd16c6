import { ImageChecksum } from '../qcow2/checksum.js';
import { MAX_NOTE_BYTES, noteIn } from '../qcow2/head.js';
import { type ImageEntry, isChecksum, isImage, isRecord } from './manifest-format.js';

/** What an image carries of the manifest, so that a manifest that is lost can be made again. */
export interface OwnEntry {
  readonly exportName: string;
  readonly entry: ImageEntry;
}

/** An entry of an image that is not complete: without the checksum of the file in which it will lie. */
export type EntryDraft = Omit<ImageEntry, 'checksum'>;

/** As it is in the image. */
interface Note {
  readonly export: string;
  /** Of everything but the cluster that this is in. */
  readonly bodyChecksum: string;
  readonly entry: EntryDraft;
}

/**
 * The note for an image whose parts, but for the first cluster, have that checksum. Undefined when it is too long, which
 * takes names and addresses that no server has: then the image goes without.
 */
export function encodeOwnEntry(exportName: string, entry: EntryDraft, bodyChecksum: string): Buffer | undefined {
  const note: Note = { export: exportName, bodyChecksum, entry };
  const encoded = Buffer.from(JSON.stringify(note));
  return encoded.length <= MAX_NOTE_BYTES ? encoded : undefined;
}

/** The entry in the first cluster of an image; undefined when it has none, 'damaged' when that cluster is. */
export function ownEntryIn(head: Buffer): OwnEntry | 'damaged' | undefined {
  const content = noteIn(head);
  if (content === undefined || content === 'damaged') return content;
  const note = parse(content.toString());
  if (!isRecord<Note>(note) || typeof note.export !== 'string' || !isChecksum(note.bodyChecksum)) return undefined;
  if (!isRecord<EntryDraft>(note.entry)) return undefined;
  const entry = { ...note.entry, checksum: ImageChecksum.ofWhole(note.bodyChecksum, head) };
  return isImage(entry) ? { exportName: note.export, entry } : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
