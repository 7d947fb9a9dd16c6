import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ImageEntry } from '../../src/agent/manifest-format.js';
import { hourOf, weekOf } from '../../src/agent/retention/calendar.js';
import { choosePoints } from '../../src/agent/retention/choose.js';
import { type RetentionPolicy, retentionPeriods } from '../../src/agent/retention/policy.js';
import { propertyRuns } from '../support/property.js';

const DAMAGE = { foundBy: 'verify', foundAt: '2026-11-28T00:00:00Z', problem: 'gone' } as const;

/** A full image, unless `change` says otherwise. */
function point(id: string, takenAt: string, change: Partial<ImageEntry> = {}): ImageEntry {
  const sizes = { sizeBytes: 1, dirtyBytes: 1, readBytes: 1, dataBytes: 1, zeroBytes: 0, fileBytes: 1 };
  const checksum = 'xxh64-sum:0000000000000000';
  return { id, base: null, mode: 'full', takenAt, durationSeconds: 1, ...sizes, checksum, ...change };
}

/** Restore points at these local times, the oldest first. Their IDs are the times. */
function pointsAt(...times: string[]): ImageEntry[] {
  return times.map((time) => point(time, new Date(time).toISOString()));
}

function kept(images: readonly ImageEntry[], policy: RetentionPolicy): string[] {
  const choices = choosePoints(new Map([['disk', { images }]]), policy).get('disk')!;
  return choices.filter(({ reasons }) => reasons.length > 0).map(({ image }) => image.id);
}

/** The days from one to another, both at noon and both included. */
function daysFrom(first: string, last: string, step = 1): string[] {
  const days: string[] = [];
  const time = new Date(`${first}T12:00:00`);
  for (const end = new Date(`${last}T12:00:00`); time <= end; time.setDate(time.getDate() + step)) {
    const [month, day] = [time.getMonth() + 1, time.getDate()].map((value) => String(value).padStart(2, '0'));
    days.push(`${time.getFullYear()}-${month}-${day}T12:00:00`);
  }
  return days;
}

describe('as in the documentation of restic', () => {
  test('12 Sundays with daily 4 keep the last 4 of them', () => {
    const sundays = daysFrom('2026-09-06', '2026-11-22', 7);
    expect(sundays).toHaveLength(12);
    expect(kept(pointsAt(...sundays), { daily: 4 })).toEqual(sundays.slice(-4));
  });

  test('a rule with counts left keeps the oldest point too', () => {
    const days = daysFrom('2026-03-10', '2026-03-12');
    expect(kept(pointsAt(...days), { yearly: 3 })).toEqual([days[0], days[2]]);
    expect(kept(pointsAt(...days), { yearly: 1 })).toEqual([days[2]]);
  });

  test('one a day for a hundred years, with daily 7, weekly 5, monthly 12 and yearly 75', () => {
    const days = daysFrom('1926-01-01', '2025-12-31');
    const result = kept(pointsAt(...days), { daily: 7, weekly: 5, monthly: 12, yearly: 75 });
    const yearEnds = Array.from({ length: 75 }, (_, i) => `${1951 + i}-12-31`);
    const monthEnds = [
      '01-31',
      '02-28',
      '03-31',
      '04-30',
      '05-31',
      '06-30',
      '07-31',
      '08-31',
      '09-30',
      '10-31',
      '11-30',
    ];
    const weekEnds = ['12-07', '12-14', '12-21', '12-28'];
    const lastDays = ['12-25', '12-26', '12-27', '12-28', '12-29', '12-30', '12-31'];
    const expected = new Set([...yearEnds, ...[...monthEnds, ...weekEnds, ...lastDays].map((day) => `2025-${day}`)]);
    expect(result).toEqual([...expected].sort().map((day) => `${day}T12:00:00`));
  });

  test('of each period the newest point stays, and periods without one do not count', () => {
    const times = ['2026-11-01T08:00', '2026-11-20T08:00', '2026-11-20T20:00', '2026-11-27T07:00', '2026-11-27T23:59'];
    expect(kept(pointsAt(...times), { daily: 2 })).toEqual([times[2], times[4]]);
    expect(kept(pointsAt(...times), { last: 1, daily: 3 })).toEqual([times[0], times[2], times[4]]);
    expect(kept(pointsAt(...times), { hourly: 'unlimited' })).toEqual(times);
    expect(kept(pointsAt(...times), { last: 2 })).toEqual(times.slice(-2));
  });
});

describe('what a point is kept for', () => {
  test('each rule that keeps it is named', () => {
    const images = pointsAt('2026-11-26T01:00', '2026-11-27T01:00');
    const choices = choosePoints(new Map([['disk', { images }]]), { last: 1, daily: 2, weekly: 1 }).get('disk')!;
    expect(choices.map(({ reasons }) => reasons)).toEqual([
      ['daily 2026-11-26'],
      ['last 1', 'daily 2026-11-27', 'weekly 2026-W48', 'newest'],
    ]);
  });

  test('the newest point stays even if a clock was set back, and one without a time always does', () => {
    const images = [...pointsAt('2026-11-27T01:00'), point('odd', 'yesterday'), ...pointsAt('2026-11-20T01:00')];
    expect(kept([...pointsAt('2026-11-25T01:00'), ...images], { last: 1 })).toEqual(images.map(({ id }) => id));
  });

  test('the image that a pending one lies on stays', () => {
    const images = pointsAt('2026-11-25T01:00', '2026-11-26T01:00', '2026-11-27T01:00');
    const pending = point('pending', '2026-11-28T00:00:00Z', { base: images[1]!.id });
    const choices = choosePoints(new Map([['disk', { images, pending }]]), { last: 1 }).get('disk')!;
    expect(choices.map(({ reasons }) => reasons.length > 0)).toEqual([false, true, true]);
  });
});

describe('damaged points', () => {
  const chain = () => [
    point('a', '2026-11-20T00:00:00Z'),
    point('b', '2026-11-21T00:00:00Z', { base: 'a', mode: 'incremental' }),
    point('c', '2026-11-22T00:00:00Z', { base: 'b', mode: 'incremental', damage: DAMAGE }),
    point('d', '2026-11-23T00:00:00Z', { base: 'c', mode: 'incremental' }),
    point('e', '2026-11-24T00:00:00Z'),
  ];

  test('push out no good one, and stay as long as if they were good, with what they need', () => {
    expect(kept(chain(), { last: 2 })).toEqual(['b', 'c', 'd', 'e']);
    expect(kept(chain(), { last: 1 })).toEqual(['e']);
    expect(kept(chain().slice(0, -1), { last: 1 })).toEqual(['b', 'c', 'd']);
  });

  test('never leave an export without its newest good point', () => {
    const images = chain().slice(0, 3);
    expect(kept(images, { last: 1 })).toEqual(['b', 'c']);
  });
});

describe('points of one instant', () => {
  test('stay or go together, over all exports', () => {
    const both = pointsAt('2026-11-01T01:00', '2026-11-08T01:00', '2026-11-15T01:00');
    const nightly = pointsAt('2026-11-12T01:00', '2026-11-14T01:00', '2026-11-15T01:00');
    const chosen = choosePoints(
      new Map([
        ['weekly', { images: both }],
        ['nightly', { images: [both[0]!, both[1]!, ...nightly] }],
      ]),
      { last: 3 },
    );
    const keptIn = (name: string) =>
      chosen
        .get(name)!
        .filter(({ reasons }) => reasons.length > 0)
        .map(({ image }) => image.id);
    expect(keptIn('weekly')).toEqual(both.map(({ id }) => id));
    expect(keptIn('nightly')).toEqual([both[0]!, both[1]!, ...nightly].map(({ id }) => id));
    expect(chosen.get('nightly')![0]!.reasons).toEqual(['another disk of the same instant is kept']);
  });
});

describe('the calendar', () => {
  test.each([
    ['2020-12-31', '2020-W53'],
    ['2021-01-03', '2020-W53'],
    ['2021-01-04', '2021-W01'],
    ['2024-12-29', '2024-W52'],
    ['2024-12-30', '2025-W01'],
    ['2026-01-01', '2026-W01'],
    ['2026-12-31', '2026-W53'],
    ['2027-01-03', '2026-W53'],
  ])('%s is in the week %s', (day, week) => {
    expect(weekOf(new Date(`${day}T00:00:00`))).toBe(week);
    expect(weekOf(new Date(`${day}T23:59:59`))).toBe(week);
  });

  test('hours and days are local', () => {
    expect(hourOf(new Date('2026-03-29T23:59:59'))).toBe('2026-03-29 23h');
  });
});

test('a policy that keeps more keeps every point of a smaller one', () => {
  const seconds = fc.integer({ min: 0, max: 3 * 365 * 86_400 });
  const times = fc.uniqueArray(seconds, { minLength: 1, maxLength: 60 });
  const count = fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined });
  const policies = fc.record(Object.fromEntries(retentionPeriods.map((period) => [period, count])));
  const property = fc.property(times, policies, policies, (offsets, one, other) => {
    const sorted = [...offsets].sort((a, b) => a - b);
    const images = sorted.map((offset) =>
      point(`p${offset}`, new Date(1_700_000_000_000 + offset * 1000).toISOString()),
    );
    const smaller = one as RetentionPolicy;
    const larger = Object.fromEntries(
      retentionPeriods.map((period) => [period, Math.max(Number(smaller[period] ?? 0), Number(other[period] ?? 0))]),
    );
    const all = kept(images, larger);
    expect(all).toEqual(expect.arrayContaining(kept(images, smaller)));
    for (const period of retentionPeriods) {
      const wanted = Number(smaller[period] ?? 0);
      expect(all.length).toBeGreaterThanOrEqual(period === 'last' ? Math.min(wanted, images.length) : 0);
    }
  });
  fc.assert(property, propertyRuns(200));
});
