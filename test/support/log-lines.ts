import type { Log, LogLine } from '../../src/base/log.js';

export interface LoggedLine {
  readonly level: keyof Log;
  readonly fields: object;
  readonly message: string;
}

/** A log that keeps its lines for the test. */
export function keepLog(): { log: Log; lines: LoggedLine[] } {
  const lines: LoggedLine[] = [];
  const keep =
    (level: keyof Log): LogLine =>
    (fields, message) =>
      void lines.push({ level, fields, message });
  return { lines, log: { debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') } };
}
