import type { Backup, BackupService, ProgressReport } from './backup-service.js';
import { NoAnswerError } from './backup-service.js';

/** Often enough that two renewals may get lost. */
const RENEWALS_PER_TTL = 4;
/** For people who watch. */
const REPORT_MILLISECONDS = 2000;

/** Renews the lease of a backup while it is being read, and tells the server how far that has come. */
export class Lease {
  /** Aborts when the server says that the backup is over; the reason is the server's error. */
  readonly lost: AbortSignal;
  private readonly controller = new AbortController();
  private readonly timers: readonly NodeJS.Timeout[];
  /** What the server has not been told yet, by export. */
  private readonly news = new Map<string, ProgressReport>();

  constructor(
    private readonly service: BackupService,
    { id, ttlSeconds, accepts = [] }: Backup,
  ) {
    this.lost = this.controller.signal;
    const renewing = setInterval(() => this.renew(id), (ttlSeconds / RENEWALS_PER_TTL) * 1000);
    // An earlier server would refuse the report.
    const reporting = accepts.includes('progress') ? [setInterval(() => this.tell(id), REPORT_MILLISECONDS)] : [];
    this.timers = [renewing, ...reporting];
  }

  /** Notes how far the reading of an export has come. The server is told of it soon. */
  report(exportName: string, doneBytes: number, totalBytes: number): void {
    this.news.set(exportName, { export: exportName, doneBytes, totalBytes });
  }

  stop(): void {
    for (const timer of this.timers) clearInterval(timer);
  }

  private renew(id: string): void {
    this.service.renew(id).catch((error: Error) => {
      // A server that does not answer may come back before the lease ends.
      if (!(error instanceof NoAnswerError)) this.controller.abort(error);
    });
  }

  /** Nothing depends on it, so a failure does not matter: if the backup is over, the next renewal says so. */
  private tell(id: string): void {
    if (this.news.size === 0) return;
    const progress = [...this.news.values()];
    this.news.clear();
    this.service.renew(id, progress).catch(() => {});
  }
}
