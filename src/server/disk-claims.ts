import { CodedError } from '../base/coded-error.js';
import { type DiskFootprint, overlaps } from '../storage/image/disk-footprint.js';

export interface DiskClaim {
  readonly exportName: string;
  readonly path: string;
  readonly readOnly: boolean;
  readonly footprint: DiskFootprint;
}

/**
 * The disks that the exports of this server use. A lock shows that a file is in use, but not by which export, and not
 * that a loop device maps it. If both were served, the bitmaps of one would miss the writes to the other.
 */
export class DiskClaims {
  private readonly claims = new Set<DiskClaim>();

  /** @throws CodedError IMAGE_LOCKED when another export uses the same bytes, and one of the two writes them */
  check(wanted: DiskClaim): void {
    const other = [...this.claims].find(
      (claim) => !(claim.readOnly && wanted.readOnly) && overlaps(claim.footprint, wanted.footprint),
    );
    if (!other) return;
    const what =
      other.path === wanted.path
        ? `this server serves ${wanted.path} already`
        : `${wanted.path} has bytes in common with ${other.path}, which this server serves`;
    const hint = 'use that export, remove it first, or serve both read-only';
    throw new CodedError('IMAGE_LOCKED', `${what}, as "${other.exportName}"`, hint);
  }

  /** Returns the function that releases the claim. @throws as `check` does */
  take(claim: DiskClaim): () => void {
    this.check(claim);
    this.claims.add(claim);
    return () => this.claims.delete(claim);
  }
}
