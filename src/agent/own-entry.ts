import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { ImageChecksum } from '../qcow2/checksum.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';
import { MAX_NOTE_BYTES, noteIn, withNote } from '../qcow2/head.js';
import { readFully } from '../qcow2/image-file.js';
import { type ImageEntry, isChecksum, isImage, isRecord, parseJson } from './manifest-format.js';

/** The manifest entry that an image carries, so that a lost manifest can be rebuilt. */
export interface OwnEntry {
  readonly exportName: string;
  readonly entry: ImageEntry;
}

/** The entry inside an image. It lacks the checksum of the file, because it is a part of that file. */
export type EntryDraft = Omit<ImageEntry, 'checksum'>;

/** The JSON document in the image. */
interface Note {
  readonly export: string;
  /** Checksum of the file without the cluster that holds the note. */
  readonly bodyChecksum: string;
  readonly entry: EntryDraft;
}

/**
 * The note for an image with this checksum of everything after its first cluster. Undefined if the note is too long;
 * then the image goes without one. That takes names and addresses longer than any server's.
 */
export function encodeOwnEntry(exportName: string, entry: EntryDraft, bodyChecksum: string): Buffer | undefined {
  const note: Note = { export: exportName, bodyChecksum, entry };
  const encoded = Buffer.from(JSON.stringify(note));
  return encoded.length <= MAX_NOTE_BYTES ? encoded : undefined;
}

/**
 * Replaces the entry in an image that has one. Returns the new entry with the new checksum of the file. Durable when it
 * resolves.
 */
export async function replaceOwnEntry(path: string, exportName: string, entry: ImageEntry): Promise<ImageEntry> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    const head = await readFully(file, 0, CLUSTER_BYTES, path);
    const { checksum: _, ...draft } = entry;
    const old = readNote(head);
    if (old === undefined || old === 'damaged') return entry;
    const { bodyChecksum } = old;
    const note = encodeOwnEntry(exportName, draft, bodyChecksum);
    if (!note) return entry;
    const changed = withNote(head, note);
    await file.write(changed, 0, changed.length, 0);
    await file.sync();
    return { ...draft, checksum: ImageChecksum.ofWhole(bodyChecksum, changed) };
  } finally {
    await file.close();
  }
}

/** The entry in the first cluster of an image; undefined if there is none, 'damaged' if the cluster is damaged. */
export function ownEntryIn(head: Buffer): OwnEntry | 'damaged' | undefined {
  const note = readNote(head);
  if (note === undefined || note === 'damaged') return note;
  const entry = { ...note.entry, checksum: ImageChecksum.ofWhole(note.bodyChecksum, head) };
  return isImage(entry) ? { exportName: note.export, entry } : undefined;
}

/** Checks that the note has an entry, but not the entry itself. */
function readNote(head: Buffer): Note | 'damaged' | undefined {
  const content = noteIn(head);
  if (content === undefined || content === 'damaged') return content;
  const note = parseJson(content.toString());
  return isNote(note) ? note : undefined;
}

function isNote(value: unknown): value is Note {
  if (!isRecord<Note>(value)) return false;
  return typeof value.export === 'string' && isChecksum(value.bodyChecksum) && isRecord<EntryDraft>(value.entry);
}
