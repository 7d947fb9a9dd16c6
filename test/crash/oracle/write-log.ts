import { expect } from 'vitest';
import { SECTOR_BYTES } from '../../../src/base/units.js';

/** A write as its client knows it. Times are those of the log's own clock. */
export interface LoggedWrite {
  readonly sequence: number;
  readonly disk: number;
  readonly firstSector: number;
  readonly sectors: number;
  readonly begunAt: number;
  /** Infinity until it is acknowledged. */
  acknowledgedAt: number;
}

/** What must and what may be in a view. It is begun when begin is called, and completed when it returns. */
export interface Cut {
  /** By disk and sector, the last write acknowledged before begin was called. */
  readonly before: readonly Uint32Array[];
  /** Every write in flight between the call and the return. */
  readonly meanwhile: Set<LoggedWrite>;
}

/**
 * The log of what clients wrote. Writes to one sector never overlap in time, so each sector has an order of writes:
 * that of the sequence numbers.
 */
export class WriteLog {
  private clock = 0;
  private sequence = 0;
  private acknowledged: Uint32Array[];
  private readonly inFlight = new Set<LoggedWrite>();
  private readonly openCuts = new Set<Cut>();

  constructor(disks: number, diskBytes: number) {
    this.acknowledged = Array.from({ length: disks }, () => new Uint32Array(diskBytes / SECTOR_BYTES));
  }

  begin(disk: number, firstSector: number, sectors: number): LoggedWrite {
    const begunAt = ++this.clock;
    const write = { sequence: ++this.sequence, disk, firstSector, sectors, begunAt, acknowledgedAt: Infinity };
    this.inFlight.add(write);
    for (const { meanwhile } of this.openCuts) meanwhile.add(write);
    return write;
  }

  acknowledge(write: LoggedWrite): void {
    write.acknowledgedAt = ++this.clock;
    this.inFlight.delete(write);
    const { disk, firstSector, sectors, sequence } = write;
    this.acknowledged[disk]!.fill(sequence, firstSector, firstSector + sectors);
  }

  /** Call this right before begin. */
  openCut(): Cut {
    const before = this.acknowledged.map((sequences) => sequences.slice());
    const cut = { before, meanwhile: new Set(this.inFlight) };
    this.openCuts.add(cut);
    return cut;
  }

  /** Call this when begin has returned or failed. */
  closeCut(cut: Cut): void {
    this.openCuts.delete(cut);
  }

  /** After a crash, acknowledged writes must be on the disks. Of those in flight, each sector may be there or not. */
  adoptAfterCrash(found: readonly Uint32Array[]): void {
    const pending = [...this.inFlight];
    found.forEach((sequences, disk) => {
      sequences.forEach((sequence, sector) => {
        if (sequence === this.acknowledged[disk]![sector]) return;
        const maker = pending.find((write) => write.sequence === sequence && covers(write, disk, sector));
        expect(maker, `disk ${disk}, sector ${sector} shows write ${sequence} after a crash`).toBeDefined();
      });
    });
    this.acknowledged = found.map((sequences) => sequences.slice());
    this.inFlight.clear();
  }
}

/**
 * Checks a view against the log. Each write is in it entirely or not at all; every write acknowledged before begin was
 * called is in it, and no write that began after it returned. Over all disks, if a write is in it, so is every write
 * that was acknowledged before that one began.
 */
export function checkCut(cut: Cut, view: readonly Uint32Array[]): void {
  const shown = new Map<LoggedWrite, boolean>();
  for (const write of cut.meanwhile) {
    const sequences = view[write.disk]!.subarray(write.firstSector, write.firstSector + write.sectors);
    const newer = sequences.filter((sequence) => sequence >= write.sequence).length;
    expect([0, write.sectors], `write ${write.sequence} is there in part`).toContain(newer);
    shown.set(write, newer > 0);
  }
  for (const [disk, sequences] of view.entries()) checkSectors(cut, sequences, disk);
  const begun = [...shown].filter(([, there]) => there).map(([{ begunAt }]) => begunAt);
  const missing = [...shown].filter(([, there]) => !there).map(([{ acknowledgedAt }]) => acknowledgedAt);
  expect(Math.min(Infinity, ...missing), 'a write is missing that came before one that is there').toBeGreaterThan(
    Math.max(0, ...begun),
  );
}

function checkSectors({ before, meanwhile }: Cut, sequences: Uint32Array, disk: number): void {
  const writes = [...meanwhile].filter((write) => write.disk === disk);
  const bySequence = new Map(writes.map((write) => [write.sequence, write]));
  sequences.forEach((sequence, sector) => {
    const last = before[disk]![sector]!;
    if (sequence === last) return;
    const write = bySequence.get(sequence);
    const allowed = sequence > last && write !== undefined && covers(write, disk, sector);
    if (!allowed)
      expect.fail(`disk ${disk}, sector ${sector} shows write ${sequence}; ${last} was acknowledged before`);
  });
}

function covers({ disk, firstSector, sectors }: LoggedWrite, otherDisk: number, sector: number): boolean {
  return disk === otherDisk && sector >= firstSector && sector < firstSector + sectors;
}
