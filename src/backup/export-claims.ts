import { CodedError } from '../base/coded-error.js';
import type { Export } from '../export/export.js';
import type { ExportRegistry } from '../export/registry.js';

/** Sees to it that no backup begins on an export that is being removed, and the other way round. */
export class ExportClaims {
  /** By export, how many want it removed: each lets go of its own claim alone. */
  private readonly leaving = new Map<string, number>();
  /** By export, what is begun on it now. */
  private readonly beginning = new Map<string, Promise<unknown>>();

  constructor(private readonly exports: ExportRegistry) {}

  /** The exports of a backup that is about to begin. @throws CodedError EXPORT_NOT_FOUND, BACKUP_INVALID */
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

  /** Remembers that a backup of these is being begun, until that is done. Gives what it gives. */
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

  /** From now on no backup of the export begins, until the function returned is called. Resolves when none is being begun. */
  async leave(exportName: string): Promise<() => void> {
    this.count(exportName, 1);
    await this.beginning.get(exportName);
    let claimed = true;
    return () => {
      if (claimed) this.count(exportName, -1);
      claimed = false;
    };
  }

  /** Resolves when nothing is being begun. */
  async settled(): Promise<void> {
    await Promise.all(this.beginning.values());
  }

  private count(exportName: string, more: 1 | -1): void {
    const claims = (this.leaving.get(exportName) ?? 0) + more;
    if (claims > 0) this.leaving.set(exportName, claims);
    else this.leaving.delete(exportName);
  }
}
