import { nu64be, struct, u32be } from '../base/binary-layout.js';
import { CLUSTER_BYTES } from './clusters.js';

/** The part of the qcow2 format (docs/interop/qcow2.txt of QEMU) that backups need: version 3, 64 KiB clusters. */

export const QCOW2_MAGIC = 0x514649fb;
export const QCOW2_VERSION = 3;
/** 2^4 = 16 bits for each reference count, the default of QEMU. */
export const REFCOUNT_ORDER = 4;
export const REFCOUNT_BYTES = 2;
/** The size of an entry in an L1, L2 or reference count table. */
export const ENTRY_BYTES = 8;
export const L2_ENTRIES = CLUSTER_BYTES / ENTRY_BYTES;
/** Bytes of the disk that one L2 table describes. */
export const L2_SPAN_BYTES = L2_ENTRIES * CLUSTER_BYTES;
/** Clusters of the file that one block of reference counts describes. */
export const REFCOUNTS_PER_BLOCK = CLUSTER_BYTES / REFCOUNT_BYTES;
export const MAX_BACKING_NAME_BYTES = 1023;

export interface Qcow2Header {
  readonly magic: number;
  readonly version: number;
  /** 0: the image has no backing file. */
  readonly backingNameOffset: number;
  readonly backingNameBytes: number;
  readonly clusterBits: number;
  /** The size of the disk. */
  readonly sizeBytes: number;
  readonly encryption: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly snapshots: number;
  readonly snapshotsOffset: number;
  readonly incompatibleFeatures: number;
  readonly compatibleFeatures: number;
  readonly autoclearFeatures: number;
  readonly refcountOrder: number;
  readonly headerBytes: number;
}

export const headerLayout = struct<Qcow2Header>([
  u32be('magic'),
  u32be('version'),
  nu64be('backingNameOffset'),
  u32be('backingNameBytes'),
  u32be('clusterBits'),
  nu64be('sizeBytes'),
  u32be('encryption'),
  u32be('l1Entries'),
  nu64be('l1Offset'),
  nu64be('refcountTableOffset'),
  u32be('refcountTableClusters'),
  u32be('snapshots'),
  nu64be('snapshotsOffset'),
  nu64be('incompatibleFeatures'),
  nu64be('compatibleFeatures'),
  nu64be('autoclearFeatures'),
  u32be('refcountOrder'),
  u32be('headerBytes'),
]);

/** A header extension: type and length, then that many bytes, padded to a multiple of 8. */
export const extensionLayout = struct<{ type: number; length: number }>([u32be('type'), u32be('length')]);
export const ExtensionType = {
  END: 0,
  BACKING_FORMAT: 0xe2792aca,
  /** Our own extension, `Tdmk`. QEMU ignores unknown types. */
  TIDEMARK: 0x54646d6b,
} as const;

/** In the upper half of an L1 or L2 entry: the cluster has exactly one reference, so it can be written in place. */
const COPIED = 0x8000_0000;
const COMPRESSED = 0x4000_0000;
/** In the lower half of an L2 entry: the cluster reads as zeroes. */
const READS_AS_ZERO = 1;
/** Bits 9 to 55 of an entry are the offset; bits 56 to 61 are reserved. */
const OFFSET_HIGH_MASK = 0x00ff_ffff;
const RESERVED_HIGH_MASK = 0x3f00_0000;

/** The states of a cluster that has no offset in the file. */
export const ClusterState = { UNALLOCATED: 0, ZERO: -1, UNSUPPORTED: -2 } as const;

/** Makes an L1 or L2 entry point to a cluster in the file. */
export function putOffset(table: Buffer, index: number, fileOffset: number): void {
  const at = index * ENTRY_BYTES;
  table.writeUInt32BE((COPIED | Math.floor(fileOffset / 2 ** 32)) >>> 0, at);
  table.writeUInt32BE(fileOffset % 2 ** 32, at + 4);
}

/** Marks the cluster of an L2 entry as zero. This hides the backing file. */
export function putZero(table: Buffer, index: number): void {
  table.writeUInt32BE(READS_AS_ZERO, index * ENTRY_BYTES + 4);
}

/** Where the cluster of an L1 or L2 entry is in the file, or a ClusterState. */
export function entryAt(table: Buffer, index: number): number {
  const at = index * ENTRY_BYTES;
  const high = table.readUInt32BE(at);
  const low = table.readUInt32BE(at + 4);
  if ((high & (COMPRESSED | RESERVED_HIGH_MASK)) !== 0) return ClusterState.UNSUPPORTED;
  if ((low & READS_AS_ZERO) !== 0) return ClusterState.ZERO;
  return (high & OFFSET_HIGH_MASK) * 2 ** 32 + low;
}

/** The number of L1 entries for a disk of this size. */
export function l1EntriesFor(sizeBytes: number): number {
  return Math.ceil(sizeBytes / L2_SPAN_BYTES);
}

export function roundUpToCluster(bytes: number): number {
  return Math.ceil(bytes / CLUSTER_BYTES) * CLUSTER_BYTES;
}
