import { CodedError } from '../base/coded-error.js';
import type { Export } from '../export/export.js';
import type { ExportRegistry } from '../export/registry.js';

/** Prevents a backup from beginning on an export that is being removed, and the other way round. */
export class ExportClaims {
  /** The number of removals in progress, by export. */
  private readonly leaving = new Map<string, number>();
  /** The backups being begun, by export. */
  private readonly beginning = new Map<string, Promise<unknown>>();

  constructor(private readonly exports: ExportRegistry) {}

  /** The exports for a backup that is about to begin. @throws CodedError EXPORT_NOT_FOUND, BACKUP_INVALID */
  take(names: readonly string[]): Export[] {
    if (new Set(names).size < names.length) {
      throw new CodedError('BACKUP_INVALID', 'an export is named twice', 'name each export once');
    }
    return names.map((name) => {
      const served = this.exports.get(name);
      if (!this.leaving.has(name)) return served;
      throw new CodedError('EXPORT_NOT_FOUND', `the export "${name}" is being removed`, 'add it again first');
    });
  }

  /** Registers that a backup of these exports is being begun until `begun` settles. Returns its result. */
  async hold<T>(exports: readonly Export[], begun: Promise<T>): Promise<T> {
    const before = exports.map(({ name }) => this.beginning.get(name));
    const all = Promise.allSettled([...before, begun]);
    for (const { name } of exports) this.beginning.set(name, all);
    try {
      return await begun;
    } finally {
      for (const { name } of exports) if (this.beginning.get(name) === all) this.beginning.delete(name);
    }
  }

  /** Lets no backup of the export begin until the returned function is called. Resolves when none is being begun. */
  async leave(exportName: string): Promise<() => void> {
    this.count(exportName, 1);
    await this.beginning.get(exportName);
    let claimed = true;
    return () => {
      if (claimed) this.count(exportName, -1);
      claimed = false;
    };
  }

  /** Resolves when no backup is being begun. */
  async settled(): Promise<void> {
    await Promise.all(this.beginning.values());
  }

  private count(exportName: string, more: 1 | -1): void {
    const claims = (this.leaving.get(exportName) ?? 0) + more;
    if (claims > 0) this.leaving.set(exportName, claims);
    else this.leaving.delete(exportName);
  }
}
