import type { BitmapSpec, ExportSpec } from '../api/export.js';
import type { NotApplied, ReloadReport } from '../api/reload.js';
import type { Backups } from '../backup/backups.js';
import { CodedError } from '../base/coded-error.js';
import { removeExport } from '../control/remove-export.js';
import { runAction } from '../control/run-actions.js';
import type { Export } from '../export/export.js';
import type { WantedExport } from '../export/registry.js';
import type { EventFeed } from '../watch/event-feed.js';
import { checkExports } from './check-exports.js';
import { compareExports, type ExportDifference, type ServedExport } from './config-difference.js';
import type { ExportOpener } from './export-opener.js';

interface ReloadedServer {
  readonly opener: ExportOpener;
  readonly backups: Backups;
  readonly events: EventFeed;
  /** Whether clients can use TLS. */
  readonly hasTls: boolean;
}

/** Makes a server serve the exports that its configuration file names now. */
export class ExportReload {
  private readonly applied: string[] = [];
  private readonly notApplied: NotApplied[] = [];

  constructor(
    private readonly server: ReloadedServer,
    /** Who asked for it. */
    private readonly by: string,
  ) {}

  /**
   * Opens the new exports first, which may fail, and changes nothing then. `switchOver` is called when nothing can fail
   * any more, before clients can use a new export: it puts the new access rules into effect. Afterwards changes what is
   * served, and reports what could not be changed. @throws CodedError EXPORT_EXISTS, and what opening exports throws
   */
  async run(wanted: readonly WantedExport[], switchOver: () => void): Promise<ReloadReport> {
    const { opener } = this.server;
    checkExports(wanted, this.server.hasTls);
    const specs = wanted.flatMap(({ spec, origin }) => (origin === 'file' ? [spec] : []));
    const difference = compareExports(specs, opener.exports.list().map(describe(opener)));
    const { added, removed } = difference;
    let letIn: readonly (() => void)[] = [];
    await opener.exports.addTogether(added.map(fromFile), async () => {
      const opened = await opener.open('operator', added);
      // The new rules may say nothing about an export that leaves, so nobody may use it under them.
      letIn = this.served(removed).map((one) => one.keepOut());
      for (const spec of difference.described) this.describeAs(spec);
      switchOver();
      return opened;
    });
    try {
      await this.finish(difference);
    } finally {
      for (const allow of letIn) allow();
    }
    return { applied: this.applied, notApplied: this.notApplied };
  }

  private async finish({ added, adopted, bitmaps, removed, moved, notApplied }: ExportDifference): Promise<void> {
    this.notApplied.push(...notApplied);
    for (const { name } of added) await this.noteAdded(name);
    for (const name of adopted) await this.adopt(name);
    for (const { exportName, bitmap } of bitmaps) await this.addBitmap(exportName, bitmap);
    await Promise.all(removed.map((name) => this.remove(name)));
    for (const spec of moved) await this.addMoved(spec);
    const { served, failed } = await this.server.opener.retryKept();
    for (const name of served) this.announce(name, 'served again');
    for (const { name, problem } of failed) this.fail(name, problem);
  }

  private describeAs(spec: ExportSpec): void {
    const [served] = this.served([spec.name]);
    if (!served) return;
    const [description, needsTls] = [spec.description ?? '', spec.tls === 'required'];
    if (description !== served.description) this.note(spec.name, 'description changed');
    if (needsTls !== served.guardedAs.needsTls) this.note(spec.name, needsTls ? 'needs TLS' : 'no longer needs TLS');
    served.describeAs({ description, needsTls });
  }

  private async adopt(name: string): Promise<void> {
    const [served] = this.served([name]);
    if (!served) return;
    this.server.opener.exports.adopt(served);
    this.note(name, 'is in the configuration now');
    await this.forgetKept(name);
  }

  private async noteAdded(name: string): Promise<void> {
    this.announce(name, 'added');
    await this.forgetKept(name);
  }

  /** From now on the file is what brings the export back, and no longer the list of those that were added. */
  private async forgetKept(name: string): Promise<void> {
    await this.attempt(name, () => this.server.opener.kept.forget(name));
  }

  private async addBitmap(exportName: string, { name, ...granularity }: BitmapSpec): Promise<void> {
    const { opener, events } = this.server;
    const action = { type: 'bitmap-add', export: exportName, bitmap: name, ...granularity } as const;
    const add = () => runAction({ exports: opener.exports, events, by: this.by }, action);
    if (await this.attempt(exportName, add, `bitmap ${name}: `)) this.note(exportName, `bitmap ${name} added`);
  }

  private async remove(name: string): Promise<void> {
    const { opener, backups, events } = this.server;
    const { exports, kept } = opener;
    // A command may have replaced it since the comparison.
    const [served] = this.served([name]);
    if (!served || exports.originOf(served) !== 'file') return;
    const cancelled = new AbortController().signal;
    const removal = { drainSeconds: undefined, force: false, by: this.by, cancelled };
    await this.attempt(name, () => removeExport({ exports, kept, backups, events }, name, removal));
    if (this.served([name]).length === 0) this.note(name, 'removed');
  }

  private async addMoved(spec: ExportSpec): Promise<void> {
    const { opener } = this.server;
    const add = () => opener.exports.addTogether([fromFile(spec)], () => opener.open('operator', [spec]));
    if (await this.attempt(spec.name, add)) await this.noteAdded(spec.name);
  }

  /** What fails is reported, and keeps nothing else from being applied. */
  private async attempt(exportName: string, change: () => Promise<unknown>, what = ''): Promise<boolean> {
    try {
      await change();
      return true;
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      if (error.code !== 'EXPORT_NOT_FOUND') this.fail(exportName, `${what}${error.message}`);
      return false;
    }
  }

  private announce(name: string, what: string): void {
    this.server.events.publish({ type: 'export-added', export: name, by: this.by });
    this.note(name, what);
  }

  private note(name: string, what: string): void {
    this.applied.push(`export ${name}: ${what}`);
  }

  private fail(name: string, why: string): void {
    this.notApplied.push({ setting: `export ${name}`, why });
  }

  /** Those of them that are served. */
  private served(names: readonly string[]): Export[] {
    return this.server.opener.exports.list().filter(({ name }) => names.includes(name));
  }
}

function fromFile(spec: ExportSpec): WantedExport {
  return { spec, origin: 'file' };
}

function describe({ exports }: ExportOpener) {
  return (served: Export): ServedExport => {
    const { name, path, readOnly, minBlockBytes, description, guardedAs } = served;
    const bitmaps = served.bitmapFacts().map((bitmap) => bitmap.name);
    const { needsTls } = guardedAs;
    return { name, origin: exports.originOf(served), path, readOnly, minBlockBytes, description, needsTls, bitmaps };
  };
}
