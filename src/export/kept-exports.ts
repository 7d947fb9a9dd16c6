import type { ExportSpec, UnservedExport } from '../api/export.js';
import { Turnstile } from '../base/turnstile.js';

/** An export that is served again after a restart. */
export interface KeptExport {
  /** Its path is absolute. */
  readonly spec: ExportSpec;
  /** ISO 8601. */
  readonly addedAt: string;
  /** Who added it. */
  readonly by: string;
}

/** The exports that were added while the server ran, and are served again after a restart. */
export class KeptExports {
  private readonly changes = new Turnstile(1);
  /** Why kept exports are not served, by their names. */
  private readonly problems = new Map<string, string>();

  /** `save` makes the whole list durable, or rejects. Without it, the list is only in memory. */
  constructor(
    private kept: readonly KeptExport[] = [],
    private readonly save: (kept: readonly KeptExport[]) => Promise<void> = async () => {},
  ) {}

  /** In the order in which they were added. */
  list(): readonly KeptExport[] {
    return this.kept;
  }

  has(name: string): boolean {
    return this.kept.some(({ spec }) => spec.name === name);
  }

  /** The export is served again after a restart, once this resolves. @throws what `save` throws */
  keep(spec: ExportSpec, by: string): Promise<void> {
    return this.changes.pass(async () => {
      await this.change([...this.others(spec.name), { spec: lasting(spec), addedAt: new Date().toISOString(), by }]);
      this.problems.delete(spec.name);
    });
  }

  /** The export is not served again after a restart, once this resolves. @throws what `save` throws */
  forget(name: string): Promise<void> {
    return this.changes.pass(() => this.drop(name));
  }

  /** Forgets an export that could not be opened. Returns whether there was one. @throws what `save` throws */
  forgetUnserved(name: string): Promise<boolean> {
    return this.changes.pass(async () => {
      if (!this.problems.has(name)) return false;
      await this.drop(name);
      return true;
    });
  }

  /** Notes why an export of the list could not be opened. */
  noteProblem(name: string, problem: string): void {
    if (this.has(name)) this.problems.set(name, problem);
  }

  /** An export that could not be opened before is served now. */
  noteServed(name: string): void {
    this.problems.delete(name);
  }

  unserved(): UnservedExport[] {
    return this.kept.flatMap(({ spec: { name, path } }) => {
      const problem = this.problems.get(name);
      return problem === undefined ? [] : [{ name, path, problem }];
    });
  }

  private async drop(name: string): Promise<void> {
    if (this.has(name)) await this.change(this.others(name));
    this.problems.delete(name);
  }

  private others(name: string): KeptExport[] {
    return this.kept.filter(({ spec }) => spec.name !== name);
  }

  private async change(next: readonly KeptExport[]): Promise<void> {
    await this.save(next);
    this.kept = next;
  }
}

/** Without the size: if the image is missing later, an empty one must not take its place. */
function lasting({ sizeBytes: _size, ...spec }: ExportSpec): ExportSpec {
  return spec;
}
