import type { Right } from '../access/rights.js';
import type { Connection } from '../api/export.js';
import type { Statistics } from '../api/statistics.js';
import type { MinBlockBytes } from '../api/values.js';
import type { BlockDevice, DeviceCapabilities } from '../storage/device/block-device.js';
import type { AccountingMemory } from './accounting/accounting-memory.js';
import { type ClientCounters, DiskAccounting } from './accounting/disk-accounting.js';
import { describeAccounting } from './accounting/statistics.js';
import type { DiskShare } from './elsewhere/disk-sharing.js';
import type { MetadataContext } from './metadata-context.js';

export type { BlockDevice };

/** A client's connection, as the disk sees it. */
export interface ClientConnection {
  /** Finishes the requests in flight, then closes the connection. Resolves when it is closed. */
  drain(): Promise<void>;
  describe(): ConnectionSummary;
  /** What it has done. */
  readonly accounting: AccountingMemory;
}

export type ConnectionSummary = Readonly<Connection> & {
  /** The version of TLS; undefined without TLS. */
  readonly tls?: string | undefined;
};

/** What a client needs to use a disk. */
export interface GuardedAs {
  /** The right that reading it needs, and the export to which that right belongs. */
  readonly exportName: string;
  readonly right: Right & ('read' | 'backup');
  /** Only clients that use TLS may use it. */
  readonly needsTls: boolean;
}

/** A disk that a client can connect to by name: an export, or a backup's view of one. */
export abstract class ServedDisk {
  private readonly connections = new Set<ClientConnection>();
  abstract readonly name: string;
  abstract readonly description: string;
  abstract readonly readOnly: boolean;
  abstract readonly minBlockBytes: MinBlockBytes;
  abstract readonly guardedAs: GuardedAs;
  /** The top of the device stack. */
  abstract readonly device: BlockDevice;
  private readonly accounting: DiskAccounting;
  private leaving = false;
  /** How many callers of `keepOut` currently refuse new clients. */
  private doorkeepers = 0;
  /** Called when the last client has gone. */
  private readonly awaitingNobody = new Set<() => void>();

  /** `latencyBounds`: of the latency histograms, in milliseconds; usual ones if they are missing. */
  constructor(latencyBounds?: readonly number[]) {
    this.accounting = new DiskAccounting(latencyBounds);
  }

  get sizeBytes(): number {
    return this.device.sizeBytes;
  }

  get capabilities(): DeviceCapabilities {
    return this.device.capabilities;
  }

  /** The disk is being closed and admits no more clients. */
  get closing(): boolean {
    return this.leaving;
  }

  /** Whether new clients can connect now. */
  get admits(): boolean {
    return !this.leaving && this.doorkeepers === 0;
  }

  /** All metadata contexts that a client can select now, `base:allocation` first. */
  abstract contexts(): MetadataContext[];

  /** The context with exactly this name; undefined when there is none. */
  context(name: string): MetadataContext | undefined {
    return this.contexts().find((context) => context.name === name);
  }

  /** Lets another thread use the disk for one client; undefined if it cannot. Of `slots` threads, each has a slot. */
  share(_slots: number): DiskShare | undefined {
    return undefined;
  }

  /** False when the disk admits no clients now; the connection must end then. */
  attach(connection: ClientConnection): boolean {
    if (!this.admits) return false;
    this.connections.add(connection);
    return true;
  }

  detach(connection: ClientConnection): void {
    if (!this.connections.delete(connection)) return;
    this.accounting.clientHasGone(connection.accounting);
    if (this.connections.size > 0) return;
    for (const wake of this.awaitingNobody) wake();
  }

  /** Admits no new clients until the returned function is called. Call it only once. */
  keepOut(): () => void {
    this.doorkeepers++;
    return () => void this.doorkeepers--;
  }

  /** Resolves when no client is connected, or when `signal` aborts. */
  async untilNobody(signal: AbortSignal): Promise<void> {
    if (this.connections.size === 0 || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        this.awaitingNobody.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.awaitingNobody.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  get clientCount(): number {
    return this.connections.size;
  }

  clients(): ConnectionSummary[] {
    return [...this.connections].map((connection) => connection.describe());
  }

  /** Lets a client finish its requests, and disconnects it. False if there is no such client. */
  async disconnect(id: number): Promise<boolean> {
    const found = [...this.connections].find((connection) => connection.describe().id === id);
    await found?.drain();
    return found !== undefined;
  }

  /** In milliseconds: the bounds of the latency histograms. */
  get latencyBounds(): readonly number[] {
    return this.accounting.bounds;
  }

  /** Begins new histograms with these bounds. */
  useLatencyBounds(bounds: readonly number[]): void {
    this.accounting.useBounds(bounds, this.accountingOfClients());
  }

  /** What clients have done since the disk has been served. */
  counters(): ClientCounters {
    return this.accounting.counters(this.accountingOfClients());
  }

  /** The same in full. `withLatency`: with the histograms. */
  statistics(withLatency: boolean): Statistics {
    const { mergedFlushes } = this;
    return describeAccounting(this.accounting.total(this.accountingOfClients()), withLatency, { mergedFlushes });
  }

  /** The connected clients with what each has done. */
  clientStatistics(withLatency: boolean): { readonly client: ConnectionSummary; readonly statistics: Statistics }[] {
    return [...this.connections].map((connection) => ({
      client: connection.describe(),
      statistics: describeAccounting(connection.accounting, withLatency),
    }));
  }

  /** Flushes that shared the flush of the file with another; undefined where there are none to count. */
  protected get mergedFlushes(): number | undefined {
    return undefined;
  }

  /** Admits no more clients. */
  protected leave(): void {
    this.leaving = true;
  }

  /** Lets every connection finish its requests, and closes it. */
  protected async drainConnections(): Promise<void> {
    await Promise.all([...this.connections].map((connection) => connection.drain()));
  }

  private accountingOfClients(): AccountingMemory[] {
    return [...this.connections].map(({ accounting }) => accounting);
  }
}
