import type { DiskLocation, ProgressReport, ReadInFull } from '../api/backup.js';
import type { AbortReason } from '../api/values.js';
import { CodedError } from '../base/coded-error.js';
import { ENOSPC, type Errno, errnoName } from '../base/errno.js';
import { Turnstile } from '../base/turnstile.js';
import type { Freeze } from '../bitmap/bitmap-state.js';
import type { DirtyBitmap } from '../bitmap/dirty-bitmap.js';
import type { Export } from '../export/export.js';
import type { View } from '../export/view.js';
import type { PointInTime } from '../snapshot/point-in-time.js';
import type { BackupRecord, EndOfBackup, PartRecord } from './backup-record.js';
import { Lease } from './lease.js';

/** What an active backup holds of one export. */
export interface BackupPart {
  readonly served: Export;
  /** Frozen by this backup. Once it is inconsistent, another bitmap may take its name. */
  readonly bitmap: DirtyBitmap;
  /** The freeze by this backup. */
  readonly freeze: Freeze;
  /** What the view is read from. */
  readonly source: PointInTime;
  /** Resolves when the view breaks. Undefined when it cannot. */
  readonly broken: Promise<unknown> | undefined;
  readonly view: View;
  readonly record: PartRecord;
  /** The live disk, for agents that read unchanged data there; undefined when other programs cannot read it. */
  readonly location: DiskLocation | undefined;
  /** Detaches the source from the write path. The view can no longer be read then. */
  readonly detach: () => void;
}

/** Why an active backup can only be aborted. */
export interface Failure {
  readonly reason: AbortReason;
  readonly detail: string;
}

/** The error for an operation on a backup that has ended; `what` is a participle such as "renewed". */
export function endedError({ id, state, endReason, endDetail }: BackupRecord, what: string): CodedError {
  const [how, hint] =
    state === 'committed'
      ? ['was committed', 'its views are gone; begin another']
      : [`was aborted (${endReason}: ${endDetail})`, 'begin another; it covers the same changes'];
  return new CodedError('BACKUP_ENDED', `backup ${id} ${how} and cannot be ${what}`, hint);
}

/** A backup from its cut to its end. It holds unchanging views and frozen bitmaps, for as long as its lease lasts. */
export class Backup {
  readonly lease: Lease;
  /** How far its agent says that it has come, by export. */
  private readonly reported = new Map<string, ProgressReport>();
  private readonly turns = new Turnstile(1);
  private failed: Failure | undefined;
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

  /** Set once the backup can only be aborted. */
  get failure(): Failure | undefined {
    return this.failed;
  }

  get exports(): Export[] {
    return this.parts.map(({ served }) => served);
  }

  /** Bytes of old data kept for its views. */
  get scratchBytes(): number {
    return this.parts.reduce((sum, { source }) => sum + source.usedBytes, 0);
  }

  /** Infinity when only the free space limits it. */
  get scratchLimitBytes(): number {
    return this.beginning.scratchLimitBytes ?? Number.POSITIVE_INFINITY;
  }

  /** The record to store; `end` is given when the backup is about to end. */
  record(end = this.end): BackupRecord {
    return { ...this.beginning, ttlSeconds: this.lease.ttlSeconds, ...end };
  }

  /** Runs an attempt to end the backup, unless it has ended. One attempt runs at a time. */
  attemptEnd(attempt: () => Promise<void>): Promise<void> {
    return this.turns.pass(async () => {
      if (this.active) await attempt();
    });
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
      `backup ${this.id} does not include "${exportName}"`,
      `it includes ${this.parts.map(({ record }) => record.export).join(', ')}`,
    );
  }

  /** Notes what the agent says. @throws CodedError BACKUP_INVALID */
  noteProgress(reports: readonly ProgressReport[]): void {
    for (const { export: name } of reports) this.part(name);
    for (const report of reports) this.reported.set(report.export, report);
  }

  /** Undefined if the agent has said nothing. */
  progressOf(exportName: string): ProgressReport | undefined {
    return this.reported.get(exportName);
  }

  /** The parts, corrected by what the agent reports it read in full. @throws CodedError BACKUP_INVALID */
  partsAsRead(readInFull: readonly ReadInFull[]): PartRecord[] {
    for (const { export: name } of readInFull) this.part(name);
    return this.parts.map(({ record }) => {
      const said = readInFull.find((one) => one.export === record.export);
      if (!said || record.mode === 'full') return record;
      return { ...record, mode: 'full', base: null, fullReason: { code: said.code, detail: said.detail } };
    });
  }

  /** Called once a second. */
  tick(): void {
    this.lease.noticeReads(this.parts.reduce((sum, { source }) => sum + source.reads, 0));
    if (this.lease.expired) this.fail('expired', `its lease of ${this.lease.ttlSeconds} s ran out`);
    this.noticeFailures();
  }

  /** Notices a view that is broken, and a bitmap that has become inconsistent, which ends its freeze. */
  noticeFailures(): void {
    for (const { record, source, bitmap } of this.parts) {
      if (source.failure !== undefined) this.fail(...whyBroken(record.export, source.failure));
      if (bitmap.inconsistent === undefined) continue;
      this.fail('bitmap-inconsistent', 'a write could not be recorded, so its bitmap is inconsistent');
    }
  }

  /** @throws CodedError BACKUP_ENDED when the backup can only be aborted; `what` names the refused operation */
  assertNotFailed(what: string): void {
    this.noticeFailures();
    if (!this.failed) return;
    const { reason, detail } = this.failed;
    throw endedError({ ...this.record(), state: 'aborted', endReason: reason, endDetail: detail }, what);
  }

  /** Stops copying before writes, closes the views, and frees the scratch space. */
  async release(removeView: (view: View) => Promise<void>): Promise<void> {
    const closed = this.parts.map(({ detach, source }) => {
      detach();
      return source.close();
    });
    await Promise.all([...closed, ...this.parts.map(({ view }) => removeView(view))]);
  }

  /** The first reason counts. */
  private fail(reason: AbortReason, detail: string): void {
    this.failed ??= { reason, detail };
  }
}

function whyBroken(exportName: string, errno: Errno): [AbortReason, string] {
  if (errno !== ENOSPC) {
    return ['scratch-failed', `the old data of "${exportName}" could not be kept: ${errnoName(errno)}`];
  }
  const mend = 'raise --scratch-limit or free space in the scratch directory';
  return ['scratch-full', `there is no more space for the old data of "${exportName}": ${mend}`];
}
