import type { Backup, BackupService } from './backup-service.js';
import { NoAnswerError } from './backup-service.js';

/** Often enough that two renewals may get lost. */
const RENEWALS_PER_TTL = 4;

/** Renews the lease of a backup while it is being read. */
export class Lease {
  /** Aborts when the server says that the backup is over; the reason is the server's error. */
  readonly lost: AbortSignal;
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;

  constructor(
    private readonly service: BackupService,
    { id, ttlSeconds }: Backup,
  ) {
    this.lost = this.controller.signal;
    this.timer = setInterval(() => this.renew(id), (ttlSeconds / RENEWALS_PER_TTL) * 1000);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private renew(id: string): void {
    this.service.renew(id).catch((error: Error) => {
      // A server that does not answer may come back before the lease ends.
      if (!(error instanceof NoAnswerError)) this.controller.abort(error);
    });
  }
}
