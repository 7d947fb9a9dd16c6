import { assert } from '../base/assert.js';
import { hash64 } from './checksum.js';
import { CLUSTER_BITS, CLUSTER_BYTES } from './clusters.js';
import {
  ExtensionType,
  extensionLayout,
  headerLayout,
  l1EntriesFor,
  MAX_BACKING_NAME_BYTES,
  QCOW2_MAGIC,
  QCOW2_VERSION,
  type Qcow2Header,
  REFCOUNT_ORDER,
} from './format.js';

/**
 * The first cluster of an image: the header, its extensions, and the name of the backing file. One extension has our
 * own type, which QEMU ignores (and keeps if it rewrites the header). It contains a seal and a note. The seal is the
 * XXH64 of this cluster with the 8 bytes of the seal set to zero, so the cluster, and with it what the
 * note says about the rest of the file, can be verified on its own.
 */

/** The content of the first cluster. All numbers but `refcountTableClusters` are in bytes. */
interface HeadFields {
  readonly sizeBytes: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** The relative name of the backing file, a qcow2 image; undefined when there is none. */
  readonly backingName: string | undefined;
  readonly note: Buffer | undefined;
}

const SEAL_BYTES = 8;
/** A note of this size always fits, together with the name of a backing file. */
export const MAX_NOTE_BYTES = CLUSTER_BYTES - 2048;

export function encodeHead({ sizeBytes, backingName = '', note, ...tables }: HeadFields): Buffer {
  const head = Buffer.alloc(CLUSTER_BYTES);
  const name = Buffer.from(backingName);
  assert(name.length <= MAX_BACKING_NAME_BYTES, 'the name of the backing file fits');
  assert((note?.length ?? 0) <= MAX_NOTE_BYTES, 'the note fits');
  let at = headerLayout.span;
  if (name.length > 0) at = putExtension(head, at, ExtensionType.BACKING_FORMAT, Buffer.from('qcow2'));
  const sealAt = at + extensionLayout.span;
  if (note) at = putExtension(head, at, ExtensionType.TIDEMARK, Buffer.concat([Buffer.alloc(SEAL_BYTES), note]));
  at = putExtension(head, at, ExtensionType.END, Buffer.alloc(0));
  name.copy(head, at);
  const header: Qcow2Header = {
    ...{ magic: QCOW2_MAGIC, version: QCOW2_VERSION, headerBytes: headerLayout.span },
    ...{ backingNameOffset: name.length > 0 ? at : 0, backingNameBytes: name.length },
    ...{ clusterBits: CLUSTER_BITS, sizeBytes, encryption: 0, l1Entries: l1EntriesFor(sizeBytes) },
    ...{ ...tables, snapshots: 0, snapshotsOffset: 0, refcountOrder: REFCOUNT_ORDER },
    ...{ incompatibleFeatures: 0, compatibleFeatures: 0, autoclearFeatures: 0 },
  };
  headerLayout.encode(header, head);
  if (note) head.writeBigUInt64BE(hash64(head), sealAt);
  return head;
}

export function backingNameIn(head: Buffer): string | undefined {
  const { backingNameOffset: at, backingNameBytes } = headerLayout.decode(head);
  return at === 0 ? undefined : head.toString('utf8', at, at + backingNameBytes);
}

/** The note; undefined when there is none, 'damaged' when the cluster does not match its seal. */
export function noteIn(head: Buffer): Buffer | 'damaged' | undefined {
  const found = findExtension(head, ExtensionType.TIDEMARK);
  if (!found) return undefined;
  if (found.length < SEAL_BYTES) return 'damaged';
  const unsealed = Buffer.from(head);
  unsealed.fill(0, found.start, found.start + SEAL_BYTES);
  if (hash64(unsealed) !== head.readBigUInt64BE(found.start)) return 'damaged';
  return head.subarray(found.start + SEAL_BYTES, found.start + found.length);
}

/** Returns the same first cluster with another note. */
export function withNote(head: Buffer, note: Buffer): Buffer {
  const { sizeBytes, l1Offset, refcountTableOffset, refcountTableClusters } = headerLayout.decode(head);
  const tables = { sizeBytes, l1Offset, refcountTableOffset, refcountTableClusters };
  return encodeHead({ ...tables, backingName: backingNameIn(head), note });
}

function putExtension(head: Buffer, at: number, type: number, data: Buffer): number {
  extensionLayout.encode({ type, length: data.length }, head, at);
  data.copy(head, at + extensionLayout.span);
  return at + extensionLayout.span + paddedBytes(data.length);
}

function findExtension(head: Buffer, wanted: number): { start: number; length: number } | undefined {
  for (let at = headerLayout.decode(head).headerBytes; at + extensionLayout.span <= head.length; ) {
    const { type, length } = extensionLayout.decode(head, at);
    const start = at + extensionLayout.span;
    if (type === ExtensionType.END || start + length > head.length) return undefined;
    if (type === wanted) return { start, length };
    at = start + paddedBytes(length);
  }
  return undefined;
}

function paddedBytes(length: number): number {
  return Math.ceil(length / 8) * 8;
}
