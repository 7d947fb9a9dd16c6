import type { Subject } from '../subject.js';
import { DiskModel } from './disk-model.js';
import { MODEL, NIGHTLY } from './disks.js';
import type { TransmissionPlan } from './plan.js';

interface Backup {
  readonly id: string;
  readonly viewName: string;
  /** The content of the view. */
  readonly view: DiskModel;
  /** The granules of the frozen bitmap. */
  readonly held: Pick<DiskModel, 'changed' | 'touched'>;
}

interface Extents {
  readonly extents: readonly { readonly offset: number; readonly length: number; readonly dirty: boolean }[];
  readonly nextOffset: number | null;
}

const bitmapPath = `/v1/exports/${MODEL.name}/bitmaps/${NIGHTLY}`;

/**
 * The modelled disk with its bitmap and, now and then, an active backup. Nothing here runs at the same time as a wave.
 */
export class BackedUpDisk {
  readonly model = new DiskModel(Buffer.alloc(MODEL.sizeBytes));
  backup: Backup | undefined;

  constructor(private readonly subject: Subject) {}

  async act(what: TransmissionPlan['afterwards']): Promise<void> {
    if (what === 'nothing') return;
    this.model.beginWave();
    if (this.backup) {
      if (what === 'commit' || what === 'abort') await this.end(what, this.backup);
    } else if (what === 'begin') await this.begin();
    else await this.compare();
    if (what === 'clear' && !this.backup) {
      await this.subject.call('POST', `${bitmapPath}/clear`);
      this.model.forgetChanges();
    }
  }

  /** Compares the whole bitmap with all changes. @throws WrongAnswer */
  async compare(): Promise<void> {
    for (let at: number | null = 0; at !== null; ) {
      const page: Extents = await this.subject.call('GET', `${bitmapPath}/extents?offset=${at}`);
      for (const { offset, length, dirty } of page.extents) this.model.compareDirty(offset, length, dirty, NIGHTLY);
      at = page.nextOffset;
    }
  }

  private async begin(): Promise<void> {
    const wanted = { exports: [MODEL.name], bitmap: NIGHTLY };
    const begun = await this.subject.call<{ id: string; exports: { view: string }[] }>('POST', '/v1/backups', wanted);
    const { changed, touched } = this.model;
    this.backup = {
      id: begun.id,
      viewName: begun.exports[0]!.view,
      view: this.model.copy(),
      held: { changed: changed.slice(), touched: touched.slice() },
    };
    this.model.forgetChanges();
  }

  private async end(how: 'commit' | 'abort', { id, held }: Backup): Promise<void> {
    await this.subject.call('POST', `/v1/backups/${id}/${how}`);
    this.backup = undefined;
    if (how === 'commit') return;
    for (const kind of ['changed', 'touched'] as const) {
      for (const [granule, isSet] of held[kind].entries()) if (isSet === 1) this.model[kind][granule] = 1;
    }
  }
}
