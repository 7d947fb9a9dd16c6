import type { ChangeRecorder } from '../../../src/bitmap/change-recorder.js';
import type { PendingMarks } from '../../../src/bitmap/store/pending-marks.js';
import type { PersistentBitmaps } from '../../../src/bitmap/store/persistent-bitmaps.js';
import { RegionMark } from '../../../src/bitmap/store/region-mark.js';
import type { RegionTable } from '../../../src/bitmap/store/region-table.js';
import type { DiskShare } from '../../../src/export/elsewhere/disk-sharing.js';
import { Export, type ExportParts } from '../../../src/export/export.js';
import type { QuietExport } from '../../../src/export/quiet-export.js';
import { Snapshot } from '../../../src/snapshot/snapshot.js';
import { insideOf } from '../../support/inside.js';

/** A deliberate error that the checker must notice. */
export interface Wrong {
  /** The data goes to the disk without waiting for the mark. */
  readonly dataBeforeMark?: boolean;
  /** A mark that names pieces of a region is taken for one of the whole region. */
  readonly piecesAsWhole?: boolean;
  /** What is asked for counts as named before it is durable. */
  readonly namedWhenAsked?: boolean;
  /** A region cools without its bits being stored. */
  readonly coolsWithoutBits?: boolean;
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
    misuseMarks(tested);
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

/** The private parts of a write-intent log. */
interface InsideLog {
  readonly regions: RegionTable;
  readonly marks: PendingMarks;
}

function misuseMarks({ wrong, persistence }: TestedParts): void {
  const { regions, marks } = persistence!.intents as unknown as InsideLog;
  const { regionBytes } = regions;
  const markOf = regions.markOf.bind(regions);
  const add = marks.add.bind(marks);
  if (wrong.piecesAsWhole) {
    regions.markOf = (region) => markOf(region) && RegionMark.whole(regionBytes);
  }
  if (wrong.coolsWithoutBits) regions.rangesOf = () => [];
  if (wrong.namedWhenAsked) {
    marks.add = (region, from, end) => {
      add(region, from, end);
      const mark = regions.markOf(region) ?? RegionMark.empty(regionBytes, 1024);
      mark.name(from, end);
      regions.mark(region, mark);
    };
  }
}
