import type { ImageEntry, Manifest } from '../manifest-format.js';
import { dayOf, hourOf, monthOf, weekOf, yearOf } from './calendar.js';
import { type RetentionPolicy, retentionPeriods } from './policy.js';

/** What a policy makes of one restore point. */
export interface Choice {
  readonly image: ImageEntry;
  /** Why it is kept, in words such as `daily 2026-11-27`; empty if it is to be dropped. */
  readonly reasons: string[];
}

type Period = (typeof retentionPeriods)[number];

/** The period that a time is in. The newest restore point of each is kept. */
const periodOf: Record<Exclude<Period, 'last'>, (time: Date) => string> = {
  hourly: hourOf,
  daily: dayOf,
  weekly: weekOf,
  monthly: monthOf,
  yearly: yearOf,
};

/**
 * Chooses the restore points to keep, for several exports at once. The rules are those of restic: of each period, the
 * newest point counts; periods without a point do not count; and as long as a rule has counts left, it keeps the oldest
 * point. Besides:
 * - The newest point of each export is kept, because the bitmap counts from it, and the newest good one.
 * - A damaged point, and one above a damaged one, counts for nothing, so as many good ones are kept as if it were not
 *   there. It is kept for as long as if it were good, with everything below it, because its file may be put back.
 * - The points of one instant (the same ID, in several exports) are kept together.
 */
export function choosePoints<Key>(
  manifests: ReadonlyMap<Key, Pick<Manifest, 'images' | 'pending'>>,
  policy: RetentionPolicy,
): Map<Key, Choice[]> {
  const chosen = new Map<Key, Choice[]>();
  for (const [key, manifest] of manifests) chosen.set(key, chooseInOne(manifest, policy));
  while (keepInstants(chosen) || keepNeeded(chosen)) {
    // What is kept for one reason can be a reason for others.
  }
  return chosen;
}

/** The restore points of one export that the policy keeps, whatever others do. */
function chooseInOne({ images, pending }: Pick<Manifest, 'images' | 'pending'>, policy: RetentionPolicy): Choice[] {
  const choices = images.map((image): Choice => ({ image, reasons: [] }));
  const ids = goodIds(images);
  const good = choices.filter(({ image }) => ids.has(image.id));
  for (const { choice, reason } of applyPolicy(good, policy)) choice.reasons.push(reason);
  for (const { choice, reason } of applyPolicy(choices, policy)) {
    if (!good.includes(choice)) choice.reasons.push(reason);
  }
  for (const { image, reasons } of choices) if (!isDated(image)) reasons.push('its time is unknown');
  const [newest, newestGood] = [choices.at(-1), good.at(-1)];
  newest?.reasons.push('newest');
  if (newestGood !== newest) newestGood?.reasons.push('newest good');
  const below = choices.find(({ image }) => image.id === pending?.base);
  if (below && below !== newest) below.reasons.push(`needed by ${pending!.id}`);
  return choices;
}

/** The IDs of the images against which, and against those below which, nothing is known. */
export function goodIds(images: readonly ImageEntry[]): ReadonlySet<string> {
  const good = new Set<string>();
  for (const { id, base, damage } of images) if (!damage && (base === null || good.has(base))) good.add(id);
  return good;
}

/** Says that nothing can be pruned, because no image is good; undefined if one is, or if there are none. */
export function whyNoneIsGood(images: readonly ImageEntry[]): string | undefined {
  if (images.length === 0 || goodIds(images).size > 0) return undefined;
  const damaged = images.find(({ damage }) => damage);
  return `none of its restore points is good${damaged ? `: ${damaged.id}: ${damaged.damage!.problem}` : ''}`;
}

function isDated({ takenAt }: ImageEntry): boolean {
  return !Number.isNaN(Date.parse(takenAt));
}

function* applyPolicy(
  choices: readonly Choice[],
  policy: RetentionPolicy,
): Generator<{ readonly choice: Choice; readonly reason: string }> {
  const time = ({ image }: Choice) => Date.parse(image.takenAt);
  // The later one in the manifest counts as newer if two have the same time.
  const newestFirst = choices.filter(({ image }) => isDated(image)).reverse();
  newestFirst.sort((one, other) => time(other) - time(one));
  for (const period of retentionPeriods) {
    let left = policy[period] === 'unlimited' ? Number.POSITIVE_INFINITY : (policy[period] ?? 0);
    let last: string | undefined;
    for (const [index, choice] of newestFirst.entries()) {
      if (left === 0) break;
      const value = period === 'last' ? String(index + 1) : periodOf[period](new Date(choice.image.takenAt));
      if (value === last && choice !== newestFirst.at(-1)) continue;
      last = value;
      left--;
      yield { choice, reason: `${period} ${value}` };
    }
  }
}

/** Keeps the other points of an instant of which one is kept. Returns whether that was news. */
function keepInstants<Key>(chosen: ReadonlyMap<Key, readonly Choice[]>): boolean {
  const all = [...chosen.values()].flat();
  const kept = new Set(all.filter(({ reasons }) => reasons.length > 0).map(({ image }) => image.id));
  const others = all.filter(({ image, reasons }) => reasons.length === 0 && kept.has(image.id));
  for (const { reasons } of others) reasons.push('another disk of the same instant is kept');
  return others.length > 0;
}

/** Keeps what lies below a kept point that is not good: nothing can be merged into that. Returns whether it was news. */
function keepNeeded<Key>(chosen: ReadonlyMap<Key, readonly Choice[]>): boolean {
  let isNews = false;
  for (const choices of chosen.values()) {
    const good = goodIds(choices.map(({ image }) => image));
    const byId = new Map(choices.map((choice) => [choice.image.id, choice]));
    // From the newest on, so that each finds what the one above it needs.
    for (const { image, reasons } of [...choices].reverse()) {
      const below = image.base === null ? undefined : byId.get(image.base);
      if (reasons.length === 0 || good.has(image.id) || !below || below.reasons.length > 0) continue;
      below.reasons.push(`needed by ${image.id}`);
      isNews = true;
    }
  }
  return isNews;
}
