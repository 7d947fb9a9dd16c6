import { CodedError } from '../base/coded-error.js';
import type { DiskLocation } from '../base/disk-location.js';
import { Turnstile } from '../base/turnstile.js';
import type { DirtyBitmap } from '../bitmap/dirty-bitmap.js';
import type { Export } from '../export/export.js';
import type { View } from '../export/view.js';
import type { Snapshot } from '../snapshot/snapshot.js';
import type { AbortReason, BackupRecord, EndOfBackup, PartRecord, ReadInFull } from './backup-record.js';
import { Lease } from './lease.js';

/** What a running backup holds of one export. */
export interface BackupPart {
  readonly served: Export;
  /** Frozen; another one may have its name once it is inconsistent. */
  readonly bitmap: DirtyBitmap;
  /** Which of the bitmap's freezes is this backup's. */
  readonly freeze: number;
  readonly snapshot: Snapshot;
  readonly view: View;
  readonly record: PartRecord;
  /** The live disk, which has the data of the view where it is not overwritten; undefined when others cannot read it. */
  readonly location: DiskLocation | undefined;
  /** Takes the snapshot from the path of writes, which ends it. */
  readonly detach: () => void;
}

/** Why a backup that is still active must end. */
export interface Doom {
  readonly reason: AbortReason;
  readonly detail: string;
}

/** Why something cannot be done with a backup that has ended. */
export function endedError({ id, state, endReason, endDetail }: BackupRecord, what: string): CodedError {
  const [how, hint] =
    state === 'committed'
      ? ['was committed', 'its views are gone; begin another']
      : [`was aborted (${endReason}: ${endDetail})`, 'begin another; it covers the same changes'];
  return new CodedError('BACKUP_ENDED', `backup ${id} ${how} and cannot be ${what}`, hint);
}

/** A backup from its cut to its end: views that do not change, bitmaps that are frozen, and a lease on both. */
export class Backup {
  /** Whoever ends it passes here, one at a time. */
  readonly endings = new Turnstile(1);
  readonly lease: Lease;
  /** Set once it can only be aborted. */
  doom: Doom | undefined;
  private end: EndOfBackup | undefined;

  constructor(
    private readonly beginning: BackupRecord,
    readonly parts: readonly BackupPart[],
  ) {
    this.lease = new Lease(beginning.ttlSeconds);
  }

  get id(): string {
    return this.beginning.id;
  }

  get bitmap(): string {
    return this.beginning.bitmap;
  }

  get active(): boolean {
    return this.end === undefined;
  }

  get exports(): Export[] {
    return this.parts.map(({ served }) => served);
  }

  /** Bytes of old data that are kept for its views. */
  get scratchBytes(): number {
    return this.parts.reduce((sum, { snapshot }) => sum + snapshot.usedBytes, 0);
  }

  /** Infinity: no limit but the room there is. */
  get scratchLimitBytes(): number {
    return this.beginning.scratchLimitBytes ?? Number.POSITIVE_INFINITY;
  }

  /** As it is to be kept; `end` when it is about to end. */
  record(end = this.end): BackupRecord {
    return { ...this.beginning, ttlSeconds: this.lease.ttlSeconds, ...end };
  }

  ended(end: EndOfBackup): void {
    this.end = end;
  }

  /** @throws CodedError BACKUP_INVALID */
  part(exportName: string): BackupPart {
    const part = this.parts.find(({ record }) => record.export === exportName);
    if (part) return part;
    throw new CodedError(
      'BACKUP_INVALID',
      `backup ${this.id} is not one of "${exportName}"`,
      `it is one of ${this.parts.map(({ record }) => record.export).join(', ')}`,
    );
  }

  /** What the agent says of how it read each export, in place of what was expected. @throws CodedError BACKUP_INVALID */
  partsAsRead(readInFull: readonly ReadInFull[]): PartRecord[] {
    for (const { export: name } of readInFull) this.part(name);
    return this.parts.map(({ record }) => {
      const said = readInFull.find((one) => one.export === record.export);
      if (!said || record.mode === 'full') return record;
      return { ...record, mode: 'full', base: null, fullReason: { code: said.code, detail: said.detail } };
    });
  }

  /** From now on it can only be aborted; the first reason counts. */
  doomBy(reason: AbortReason, detail: string): void {
    this.doom ??= { reason, detail };
  }

  /** Finds out whether its lease has run out, or a bitmap is inconsistent and so is frozen no more. */
  look(): void {
    this.lease.noticeReads(this.parts.reduce((sum, { snapshot }) => sum + snapshot.reads, 0));
    if (this.lease.expired) this.doomBy('expired', `its lease of ${this.lease.ttlSeconds} s ran out`);
    this.noticeLostBitmap();
  }

  /** @throws CodedError BACKUP_ENDED when it can only be aborted; `what` could be done with it otherwise */
  mustGoOn(what: string): void {
    this.noticeLostBitmap();
    if (!this.doom) return;
    const { reason, detail } = this.doom;
    throw endedError({ ...this.record(), state: 'aborted', endReason: reason, endDetail: detail }, what);
  }

  /** Lets writes go on without copying, ends the views, and gives back the scratch. */
  async release(removeView: (view: View) => Promise<void>): Promise<void> {
    const closed = this.parts.map(({ detach, snapshot }) => {
      detach();
      return snapshot.close();
    });
    await Promise.all([...closed, ...this.parts.map(({ view }) => removeView(view))]);
  }

  private noticeLostBitmap(): void {
    if (this.parts.every(({ bitmap }) => bitmap.inconsistent === undefined)) return;
    this.doomBy('bitmap-inconsistent', 'a write could not be recorded, so its bitmap is inconsistent');
  }
}
