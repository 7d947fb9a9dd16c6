import { EIO } from '../../base/errno.js';
import { type AccountingMemory, newAccountingMemory } from '../../export/accounting/accounting-memory.js';
import { type DiskAnswer, type DiskCall, makeDiskCall } from '../../export/elsewhere/disk-calls.js';
import type { MetadataContext } from '../../export/metadata-context.js';
import type { ServedDisk } from '../../export/served-disk.js';
import type { Agreement } from '../agreement.js';

/** A client that another thread serves, as the owner of its disk sees it. */
export class MovedClient {
  /** What it has done. */
  readonly accounting: AccountingMemory;
  /** Resolves with the reason when the client has gone and none of its calls is under way. */
  readonly closed: Promise<string | undefined>;
  private resolveClosed!: (reason: string | undefined) => void;
  private readonly contexts: readonly MetadataContext[];
  private calls = 0;
  private ending: { readonly reason: string | undefined } | undefined;

  constructor(
    readonly agreement: Agreement<ServedDisk>,
    /** Asks the thread to finish the requests in flight, and to close the connection. */
    readonly stop: (reason: string) => void,
    private readonly onBug: (bug: unknown) => void,
  ) {
    this.accounting = newAccountingMemory(agreement.export.latencyBounds);
    this.contexts = agreement.contexts.map(({ context }) => context);
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
  }

  /** Makes a call on the disk for the thread. */
  async make(call: DiskCall): Promise<DiskAnswer> {
    this.calls++;
    try {
      return await makeDiskCall(call, this.agreement.export.device, this.contexts);
    } catch (bug) {
      this.onBug(bug);
      return { errno: EIO };
    } finally {
      this.calls--;
      this.closeWhenIdle();
    }
  }

  /** The thread has closed the connection, or has ended itself. */
  end(reason: string | undefined): void {
    this.ending ??= { reason };
    this.closeWhenIdle();
  }

  private closeWhenIdle(): void {
    if (this.ending && this.calls === 0) this.resolveClosed(this.ending.reason);
  }
}
