import type { BlockDevice, DeviceCapabilities } from '../storage/device/block-device.js';
import type { MinBlockBytes } from './block-size.js';
import type { MetadataContext } from './metadata-context.js';

export type { BlockDevice };

/** A client's hold on a disk, as the disk sees it. */
export interface ClientConnection {
  /** Finishes what is in flight, then closes the connection. Resolves when it is closed. */
  drain(): Promise<void>;
  describe(): ConnectionSummary;
}

/** What clients did with a disk, since it is served. */
export interface ClientCounters {
  requests: number;
  failedRequests: number;
  bytesRead: number;
  bytesWritten: number;
}

export interface ConnectionSummary extends Readonly<ClientCounters> {
  readonly id: number;
  readonly client: string;
  readonly connectedAt: string;
}

/** What a client can connect to by its name: an export, or the view that a backup has of one. */
export abstract class ServedDisk {
  readonly connections = new Set<ClientConnection>();
  abstract readonly name: string;
  abstract readonly description: string;
  abstract readonly readOnly: boolean;
  abstract readonly minBlockBytes: MinBlockBytes;
  /** The top of the device stack. */
  abstract readonly device: BlockDevice;
  /** What connections that are gone have done. */
  private readonly past: ClientCounters = { requests: 0, failedRequests: 0, bytesRead: 0, bytesWritten: 0 };
  private leaving = false;
  /** How many want that nobody connects for now. */
  private doorkeepers = 0;
  /** Called when the last client has gone. */
  private readonly awaitingNobody = new Set<() => void>();

  get sizeBytes(): number {
    return this.device.sizeBytes;
  }

  get capabilities(): DeviceCapabilities {
    return this.device.capabilities;
  }

  /** It takes no connection any more. */
  get closing(): boolean {
    return this.leaving;
  }

  /** It takes connections now. */
  get admits(): boolean {
    return !this.leaving && this.doorkeepers === 0;
  }

  /** Every metadata context that a client may select now, `base:allocation` first. */
  abstract contexts(): MetadataContext[];

  /** The context of exactly that name; undefined when there is none. */
  context(name: string): MetadataContext | undefined {
    return this.contexts().find((context) => context.name === name);
  }

  /** False when the connection must not go on, as the disk is being closed. */
  attach(connection: ClientConnection): boolean {
    if (!this.admits) return false;
    this.connections.add(connection);
    return true;
  }

  detach(connection: ClientConnection): void {
    if (!this.connections.delete(connection)) return;
    addTo(this.past, connection.describe());
    if (this.connections.size > 0) return;
    for (const wake of this.awaitingNobody) wake();
  }

  /** Takes no new clients until the function returned is called, once. */
  keepOut(): () => void {
    this.doorkeepers++;
    return () => void this.doorkeepers--;
  }

  /** Resolves when nobody is connected, or the signal is given. */
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

  counters(): ClientCounters {
    const total = { ...this.past };
    for (const connection of this.connections) addTo(total, connection.describe());
    return total;
  }

  /** Nobody may connect from now on. */
  protected leave(): void {
    this.leaving = true;
  }

  /** Lets every connection finish what it has begun, and closes it. */
  protected async drainConnections(): Promise<void> {
    await Promise.all([...this.connections].map((connection) => connection.drain()));
  }
}

function addTo(total: ClientCounters, more: ClientCounters): void {
  total.requests += more.requests;
  total.failedRequests += more.failedRequests;
  total.bytesRead += more.bytesRead;
  total.bytesWritten += more.bytesWritten;
}
