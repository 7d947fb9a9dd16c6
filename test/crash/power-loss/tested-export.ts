import type { ChangeRecorder } from '../../../src/bitmap/change-recorder.js';
import type { PersistentBitmaps } from '../../../src/bitmap/store/persistent-bitmaps.js';
import type { DiskShare } from '../../../src/export/elsewhere/disk-sharing.js';
import { Export, type ExportParts } from '../../../src/export/export.js';
import type { QuietExport } from '../../../src/export/quiet-export.js';
import { Snapshot } from '../../../src/snapshot/snapshot.js';
import { insideOf } from '../../support/inside.js';

/** A deliberate error that the checker must notice. */
export interface Wrong {
  /** The data goes to the disk without waiting for the mark. */
  readonly dataBeforeMark?: boolean;
  /** Flushes that a cut leaves out. */
  readonly leavesOut?: (flush: CutFlush) => boolean;
  /** Nothing is copied before it is overwritten. */
  readonly noCopies?: boolean;
  /** A cut leaves other threads their permits to write. */
  readonly keepsPermits?: boolean;
  /** A cut does not wait until other threads have ended their writes. */
  readonly awaitsNoThreads?: boolean;
}

/** A flush that a cut asks for. */
export interface CutFlush {
  readonly cut: 'transaction' | 'begin' | 'commit' | 'abort';
  /** Whether writes are held back. */
  readonly held: boolean;
}

interface TestedParts extends ExportParts {
  readonly wrong: Wrong;
  /** The cut that is under way. */
  readonly cut: () => CutFlush['cut'];
  /** Called when a cut begins to change the bitmaps. */
  readonly atInstant: () => void;
}

/** An export that tells when it is changed, and may be wrong on purpose. */
export class TestedExport extends Export {
  private held = false;

  constructor(private readonly tested: TestedParts) {
    super(tested);
    if (tested.wrong.dataBeforeMark) writeBeforeMark(this, tested);
  }

  override async flushForBitmaps(): Promise<void> {
    const { tested, held } = this;
    if (!tested.wrong.leavesOut?.({ cut: tested.cut(), held })) await super.flushForBitmaps();
  }

  override share(slots: number): DiskShare | undefined {
    const share = super.share(slots);
    const { permits } = insideOf(this).gate;
    const { keepsPermits, awaitsNoThreads } = this.tested.wrong;
    if (permits && keepsPermits) permits.withdraw = () => permits.close();
    if (permits && awaitsNoThreads) permits.quiet = async () => {};
    return share;
  }

  override quiesce(): QuietExport {
    const quiet = super.quiesce();
    const resume = quiet.resume.bind(quiet);
    this.held = true;
    quiet.resume = () => {
      this.held = false;
      return resume();
    };
    const { wrong, persistence, disk, atInstant } = this.tested;
    let asked = false;
    // A cut first asks for this when the flushes are done and the change is next.
    Object.defineProperty(quiet, 'persistence', {
      get(): PersistentBitmaps | undefined {
        if (!asked) atInstant();
        asked = true;
        return persistence;
      },
    });
    if (wrong.noCopies) {
      quiet.snapshot = (options) => {
        const snapshot = new Snapshot({ ...options, source: disk });
        return { snapshot, detach: () => snapshot.end() };
      };
    }
    return quiet;
  }
}

/** Lets the data pass at once, and marks it in the background. */
function writeBeforeMark(served: Export, { bitmaps, persistence }: ExportParts): void {
  const { intents } = persistence!;
  const recorder: ChangeRecorder = {
    sliceBytes: served.sizeBytes,
    recordNow: (offset, length) => {
      bitmaps.markDirty(offset, length);
      void intents.record(offset, length);
      return true;
    },
    record: (offset, length) => intents.record(offset, length),
  };
  const { inner: tracking } = insideOf(served).copyBeforeWrite as unknown as { inner: { recorder: ChangeRecorder } };
  tracking.recorder = recorder;
}
