import type { Access } from '../access/access.js';
import { describeIdentity } from '../access/identity.js';
import type { Right } from '../access/rights.js';
import type { Export } from './export.js';
import type { ExportRegistry } from './registry.js';
import type { ServedDisk } from './served-disk.js';

/** The exports as one client sees them. An export that it may not see does not exist for it. */
export class SeenExports {
  constructor(
    private readonly registry: ExportRegistry,
    readonly access: Access,
  ) {}

  list(): Export[] {
    return this.registry.list().filter((served) => this.sees(served));
  }

  /** The visible exports, then the views that the client may read. */
  listServed(): ServedDisk[] {
    return this.registry.listServed().filter((served) => this.sees(served));
  }

  /**
   * Finds a disk that admits clients. The empty name means the default export, if exactly one is visible. A view is
   * visible to those who may read it.
   */
  find(name: string): ServedDisk | undefined {
    const found = this.registry.find(name === '' ? this.onlyName() : name);
    return found && this.sees(found) ? found : undefined;
  }

  /** @throws CodedError EXPORT_NOT_FOUND, FORBIDDEN if it is visible, but the client has none of these rights */
  get(name: string, anyOf: readonly Right[]): Export {
    const found = this.access.may('list', name) ? this.registry.get(name) : this.registry.refuseUnknown(name);
    this.access.demand(anyOf, name);
    return found;
  }

  /** Who asks, for the log and for refusals. */
  get who(): string {
    return describeIdentity(this.access.identity);
  }

  /** Whether nothing is hidden from the client. */
  get seesAll(): boolean {
    return this.access.mayAll('list');
  }

  /** Whether the client may read a disk that it sees. */
  mayRead({ guardedAs }: ServedDisk): boolean {
    return this.access.may(guardedAs.right, guardedAs.exportName);
  }

  /** Whether the client may use a disk, for writing too unless it is read-only for it. */
  mayUse(served: ServedDisk, readOnly: boolean): boolean {
    const { exportName } = served.guardedAs;
    return this.sees(served) && this.mayRead(served) && (readOnly || this.access.may('write', exportName));
  }

  /** Whether the client may know the bitmaps of an export, and what is dirty. */
  maySeeBitmaps(exportName: string): boolean {
    return this.access.may('read', exportName) || this.access.may('backup', exportName);
  }

  may(right: Right, exportName: string): boolean {
    return this.access.may(right, exportName);
  }

  private onlyName(): string {
    const visible = this.list();
    return visible.length === 1 ? visible[0]!.name : '';
  }

  private sees({ guardedAs }: ServedDisk): boolean {
    const { exportName, right, needsTls } = guardedAs;
    const { over, encrypted, operator } = this.access.identity;
    if (needsTls && over === 'nbd' && !encrypted && !operator) return false;
    return this.access.may(right === 'read' ? 'list' : right, exportName);
  }
}
