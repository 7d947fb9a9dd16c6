import { describe, expect, test } from 'vitest';
import { judge, type Moment, type StoredExport } from '../../../src/bitmap/store/left-disk.js';
import type { DiskIdentity } from '../../../src/storage/image/disk-identity.js';

const SECOND = 1000;
/** 2001-09-09, in milliseconds; the machine was started 1000 s before. */
const NOON = 1_000_000_000_000;
const boot = (seconds: number, bootId = 'a'): Moment => ({
  bootId,
  at: NOON + seconds * SECOND,
  upSeconds: 1000 + seconds,
});

function fileOf(modified: number, changed = modified): DiskIdentity {
  const nanoseconds = (seconds: number) => `${BigInt(NOON + seconds * SECOND) * 1_000_000n}`;
  const times = { modifiedAt: nanoseconds(modified), changedAt: nanoseconds(changed) };
  return { kind: 'file', id: '1:2', sizeBytes: 512, localTimes: true, ...times };
}

const killedAtRest: StoredExport = {
  identity: fileOf(0),
  regionBytes: 1,
  clean: false,
  lastSight: { moment: boot(1) },
};
const killedWriting: StoredExport = {
  identity: fileOf(0),
  regionBytes: 1,
  clean: false,
  lastSight: { moment: boot(1), writesUntil: NOON + 3 * SECOND },
};

const futureBefore: StoredExport = { ...killedWriting, identity: fileOf(900, 0) };

describe('a file whose server was killed', () => {
  test.each<[what: string, before: StoredExport, now: DiskIdentity, moment: Moment]>([
    ['at rest, as it was', killedAtRest, fileOf(0), boot(9)],
    ['at rest by a power loss that took its last times with it', killedAtRest, fileOf(-5), boot(9, 'b')],
    ['at rest, as it was, on a clock that was set back', killedAtRest, fileOf(0), { ...boot(9), at: NOON - SECOND }],
    ['while it wrote, changed before its lease ended', killedWriting, fileOf(2), boot(9)],
    ['while it wrote, by a power loss', killedWriting, fileOf(-5), boot(9, 'b')],
    ['while it wrote, with a time from the future before', futureBefore, fileOf(2), boot(9)],
    ['while it wrote, on a clock that was set forward', killedWriting, fileOf(2), { ...boot(9), at: NOON + 9e6 }],
  ])('%s, is trusted', (_what, before, now, moment) => {
    expect(judge(before, now, moment)).toEqual({ ground: 'heartbeat' });
  });

  test.each<[what: string, before: StoredExport, now: DiskIdentity, moment: Moment, reason: RegExp]>([
    ['at rest, written since', killedAtRest, fileOf(0.001), boot(9), /^modified at 2001-09-09T01:46:40.001Z/],
    ['at rest, written since in another boot', killedAtRest, fileOf(5), boot(9, 'b'), /^modified at /],
    ['at rest, given an older time in the same boot', killedAtRest, fileOf(-5, 0), boot(9), /^modified at /],
    ['at rest, restored with an older time', killedAtRest, fileOf(-5, 5), boot(9, 'b'), /^modified at /],
    ['at rest, restored with its time', killedAtRest, fileOf(0, 5), boot(9), /^replaced or altered at /],
    [
      'writing, written after the lease',
      killedWriting,
      fileOf(3.2),
      boot(9),
      /^changed at .*:43.200Z, after .*:43.000Z$/,
    ],
    [
      'writing, on a file system that was put back',
      killedWriting,
      fileOf(-5),
      boot(9),
      /^its file system was rolled back/,
    ],
    ['writing, restored with its time', killedWriting, fileOf(2, 5), boot(9), /^changed at .*:45.000Z, after/],
    ['writing, on a clock that was set back', killedWriting, fileOf(2), { ...boot(9), at: NOON }, /clock was set back/],
    [
      'writing, in another boot with a clock that is behind',
      killedWriting,
      fileOf(2),
      boot(0, 'b'),
      /clock was set back/,
    ],
  ])('%s, is not trusted', (_what, before, now, moment, reason) => {
    expect(judge(before, now, moment)).toEqual({ untrue: expect.stringMatching(reason) });
  });

  test('on a file system with its own clock is only trusted to be the same disk', () => {
    const { localTimes: _, ...remote } = fileOf(9);
    const { lastSight: __, ...before } = killedWriting;
    expect(judge({ ...before, identity: remote }, remote, boot(9))).toEqual({ ground: 'identity' });
  });
});

describe('a block device', () => {
  const counted = (writtenSectors: number, discardedSectors = 0, bootId = 'a', diskSequence = 7): DiskIdentity => ({
    kind: 'block device',
    id: '2064',
    sizeBytes: 512,
    counters: { bootId, diskSequence, writtenSectors, discardedSectors },
  });
  const closed: StoredExport = { identity: counted(100), regionBytes: 1, clean: true };

  test.each([
    ['not written', counted(100), 'counters'],
    ['with a counter that was reset by a boot', counted(3, 0, 'b'), 'identity'],
    ['attached again', counted(3, 0, 'a', 8), 'identity'],
  ])('that was %s while it was away is trusted', (_what, now, ground) => {
    expect(judge(closed, now, boot(9))).toEqual({ ground });
    const atRest = { ...closed, clean: false, lastSight: { moment: boot(1) } };
    expect(judge(atRest, now, boot(9))).toEqual({ ground });
  });

  test.each([
    ['written', counted(108), /^written while not served: 4 KiB/],
    ['discarded', counted(100, 8), /^written while not served: 4 KiB/],
    ['counted down', counted(1), /went down/],
  ])('that was %s while it was away is not trusted, not even after a crash at rest', (_what, now, reason) => {
    expect(judge(closed, now, boot(9))).toEqual({ untrue: expect.stringMatching(reason) });
    const atRest = { ...closed, clean: false, lastSight: { moment: boot(1) } };
    expect(judge(atRest, now, boot(9))).toEqual({ untrue: expect.stringMatching(reason) });
  });

  const writing: StoredExport = {
    ...closed,
    clean: false,
    lastSight: { moment: boot(1), writesUntil: NOON, limitPath: '/dev/shm/number' },
  };

  test.each([
    ['as often as its server explains', counted(150), 150, 'write-count'],
    ['less often than its server explains', counted(120), 150, 'write-count'],
    ['while what its server explains is lost', counted(999), undefined, 'write-intent'],
    ['before a boot, which resets the counter', counted(999, 0, 'b'), 150, 'identity'],
  ])('whose server was killed while it wrote, written %s, is trusted', (_what, now, limit, ground) => {
    expect(judge(writing, now, boot(9), { limit })).toEqual({ ground });
  });

  test.each([
    ['more often than its server explains', counted(150, 8), /^written after its server was killed: 4 KiB/],
    ['and counted down', counted(99), /went down/],
  ])('whose server was killed while it wrote, written %s, is not trusted', (_what, now, reason) => {
    expect(judge(writing, now, boot(9), { limit: 150 })).toEqual({ untrue: expect.stringMatching(reason) });
  });

  test('is not trusted when its content has to be compared and cannot be', () => {
    const witnessed = { ...closed, witness: 'w' };
    expect(judge(witnessed, counted(3, 0, 'b'), boot(9), { witness: 'w' })).toEqual({ ground: 'witnesses' });
    expect(judge(witnessed, counted(3, 0, 'b'), boot(9))).toEqual({ untrue: expect.stringMatching(/cannot be read$/) });
    expect(judge(witnessed, counted(100), boot(9))).toEqual({ ground: 'counters' });
  });
});
