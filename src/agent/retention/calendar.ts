/*
 * Periods of the calendar, in the local time of this process. Two times are in the same period if the texts are equal;
 * the texts are shown to people.
 */

/** `2026-11-27 14h` */
export function hourOf(time: Date): string {
  return `${dayOf(time)} ${two(time.getHours())}h`;
}

/** `2026-11-27` */
export function dayOf(time: Date): string {
  return `${monthOf(time)}-${two(time.getDate())}`;
}

/** The week of ISO 8601, `2026-W48`: it belongs to the year that its Thursday is in. */
export function weekOf(time: Date): string {
  const daysSinceMonday = (time.getDay() + 6) % 7;
  const thursday = new Date(time.getFullYear(), time.getMonth(), time.getDate() - daysSinceMonday + 3);
  const dayOfYear = Math.round(
    (Date.UTC(...ymd(thursday)) - Date.UTC(thursday.getFullYear(), 0, 1)) / DAY_MILLISECONDS,
  );
  return `${yearOf(thursday)}-W${two(Math.floor(dayOfYear / 7) + 1)}`;
}

/** `2026-11` */
export function monthOf(time: Date): string {
  return `${yearOf(time)}-${two(time.getMonth() + 1)}`;
}

/** `2026` */
export function yearOf(time: Date): string {
  return String(time.getFullYear());
}

const DAY_MILLISECONDS = 86_400_000;

function ymd(time: Date): [number, number, number] {
  return [time.getFullYear(), time.getMonth(), time.getDate()];
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
