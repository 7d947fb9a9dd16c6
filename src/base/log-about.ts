import type { Log, LogLine } from './log.js';

/** A log whose lines have these fields too. */
export function logAbout(log: Log, about: object): Log {
  const line =
    (level: Exclude<keyof Log, 'level'>): LogLine =>
    (fields, message) =>
      log[level]({ ...about, ...fields }, message);
  const [trace, debug, info, warn, error] = [line('trace'), line('debug'), line('info'), line('warn'), line('error')];
  return { trace, debug, info, warn, error };
}
