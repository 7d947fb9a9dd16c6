import { CodedError } from '../base/coded-error.js';
import type { DiskFootprint } from '../storage/image/disk-footprint.js';

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
  /** The claims by the numbers of the disks themselves, and by those of what they are within. */
  private readonly same = new ClaimsById();
  private readonly within = new ClaimsById();

  /** @throws CodedError IMAGE_LOCKED when another export uses the same bytes, and one of the two writes them */
  check(wanted: DiskClaim): void {
    const { same, within } = wanted.footprint;
    const overlapping = [...this.same.find([...same, ...within]), ...this.within.find(same)];
    const other = overlapping.find((claim) => !(claim.readOnly && wanted.readOnly));
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
    const { same, within } = claim.footprint;
    this.same.add(same, claim);
    this.within.add(within, claim);
    return () => {
      this.same.remove(same, claim);
      this.within.remove(within, claim);
    };
  }
}

class ClaimsById {
  private readonly claims = new Map<string, DiskClaim[]>();

  find(ids: readonly string[]): DiskClaim[] {
    return ids.flatMap((id) => this.claims.get(id) ?? []);
  }

  add(ids: readonly string[], claim: DiskClaim): void {
    for (const id of ids) this.claims.set(id, [...(this.claims.get(id) ?? []), claim]);
  }

  remove(ids: readonly string[], claim: DiskClaim): void {
    for (const id of ids) {
      const left = this.claims.get(id)?.filter((other) => other !== claim) ?? [];
      if (left.length > 0) this.claims.set(id, left);
      else this.claims.delete(id);
    }
  }
}
