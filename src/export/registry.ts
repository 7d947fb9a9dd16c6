import type { ExportSpec } from '../api/export.js';
import type { ExportOrigin } from '../api/values.js';
import { CodedError } from '../base/coded-error.js';
import type { Export } from './export.js';
import { checkTexts } from './export-spec.js';
import type { ServedDisk } from './served-disk.js';
import type { View } from './view.js';

/** Opens an export, including its device stack, from its description. */
export type OpenExport = (spec: ExportSpec) => Promise<Export>;

/** An export to be served, and where it comes from. */
export interface WantedExport {
  readonly spec: ExportSpec;
  readonly origin: ExportOrigin;
}

/** How an export is added while the server runs. */
export interface Adding {
  readonly origin?: ExportOrigin;
  /** Called with the open export before any client can use it. If it rejects, the export is closed again. */
  readonly beforeServing?: (opened: Export) => Promise<void>;
}

/** The exports being served, by name and in the order they were added, and the views that backups have of them. */
export class ExportRegistry {
  private readonly exports = new Map<string, Export>();
  private readonly origins = new Map<string, ExportOrigin>();
  private readonly views = new Map<string, View>();
  /** Names being opened or closed: taken, but not found. */
  private readonly reserved = new Set<string>();
  private readonly underWay = new Set<Promise<unknown>>();

  constructor(private readonly openExport: OpenExport) {}

  list(): Export[] {
    return [...this.exports.values()];
  }

  /** Everything that a client can connect to by name: the exports, then the views, which NBD does not list. */
  listServed(): ServedDisk[] {
    return [...this.exports.values(), ...this.views.values()];
  }

  /** Finds a disk that admits clients. */
  find(name: string): ServedDisk | undefined {
    const found = this.exports.get(name) ?? this.views.get(name);
    return found?.admits ? found : undefined;
  }

  /** @throws CodedError EXPORT_NOT_FOUND */
  get(name: string): Export {
    return this.exports.get(name) ?? this.refuseUnknown(name);
  }

  /** Where an export that is served comes from. */
  originOf({ name }: Export): ExportOrigin {
    return this.origins.get(name)!;
  }

  /** The configuration file has the export from now on. */
  adopt({ name }: Export): void {
    this.origins.set(name, 'file');
  }

  /** @throws CodedError EXPORT_NOT_FOUND */
  refuseUnknown(name: string): never {
    const hint = 'tidemark export list shows what is served';
    throw new CodedError('EXPORT_NOT_FOUND', `there is no export "${name}"`, hint);
  }

  /**
   * Opens and serves an export. @throws CodedError EXPORT_EXISTS, EXPORT_INVALID, IMAGE_UNUSABLE, IMAGE_LOCKED,
   * IMAGE_NOT_ALLOWED, BITMAP_INVALID, and what `beforeServing` throws
   */
  async add(spec: ExportSpec, { origin = 'temporary', beforeServing }: Adding = {}): Promise<Export> {
    checkTexts(spec);
    this.reserve(spec.name);
    return this.whileReserved([spec.name], async () => {
      const opened = await this.openExport(spec);
      try {
        await beforeServing?.(opened);
      } catch (error) {
        // What matters is why the export is not served.
        await opened.close().catch(() => {});
        throw error;
      }
      this.serve(opened, origin);
      return opened;
    });
  }

  /** Serves the exports that `open` opens together, or none. @throws as `add`, and what `open` throws */
  async addTogether(wanted: readonly WantedExport[], open: () => Promise<readonly Export[]>): Promise<void> {
    const names: string[] = [];
    const origins = new Map(wanted.map(({ spec, origin }) => [spec.name, origin]));
    try {
      for (const { spec } of wanted) {
        checkTexts(spec);
        this.reserve(spec.name);
        names.push(spec.name);
      }
    } catch (error) {
      for (const name of names) this.reserved.delete(name);
      throw error;
    }
    await this.whileReserved(names, async () => {
      for (const opened of await open()) this.serve(opened, origins.get(opened.name)!);
    });
  }

  /** Admits no new clients, drains the connected ones, then closes the export. @throws EXPORT_NOT_FOUND */
  async remove(name: string): Promise<void> {
    const leaving = this.get(name);
    this.exports.delete(name);
    this.reserved.add(name);
    await this.whileReserved([name], () => leaving.close());
  }

  addView(view: View): void {
    this.views.set(view.name, view);
  }

  /** Admits no new clients, and drains the connected ones. */
  async removeView(view: View): Promise<void> {
    this.views.delete(view.name);
    await view.close();
  }

  /**
   * Waits for operations in progress, whose failures go to their own callers, then closes all exports in parallel.
   * Rejects with the first failure after all are closed.
   */
  async close(): Promise<void> {
    await Promise.allSettled(this.underWay);
    const closed = await Promise.allSettled([...this.exports.keys()].map((name) => this.remove(name)));
    const failed = closed.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }

  /** Names of the exports that are being opened or closed. */
  unfinished(): string[] {
    return [...this.reserved];
  }

  private serve(opened: Export, origin: ExportOrigin): void {
    this.exports.set(opened.name, opened);
    this.origins.set(opened.name, origin);
  }

  private reserve(name: string): void {
    if (this.exports.has(name) || this.views.has(name) || this.reserved.has(name)) {
      throw new CodedError(
        'EXPORT_EXISTS',
        `there is already an export "${name}"`,
        'choose another name, or remove it first',
      );
    }
    this.reserved.add(name);
  }

  private async whileReserved<T>(names: readonly string[], work: () => Promise<T>): Promise<T> {
    const working = work();
    this.underWay.add(working);
    try {
      return await working;
    } finally {
      this.underWay.delete(working);
      for (const name of names) this.reserved.delete(name);
    }
  }
}
