import type { Log, LogLine } from '../../src/base/log.js';

export interface LoggedLine {
  readonly level: keyof Log;
  readonly fields: object;
  readonly message: string;
}

/** A log that keeps its lines for the test. */
export function keepLog(level: 'trace' | 'debug' = 'debug'): { log: Log; lines: LoggedLine[] } {
  const lines: LoggedLine[] = [];
  const keep =
    (of: keyof Log): LogLine =>
    (fields, message) =>
      void lines.push({ level: of, fields, message });
  const [trace, debug, info, warn, error] = [keep('trace'), keep('debug'), keep('info'), keep('warn'), keep('error')];
  return { lines, log: { level, trace, debug, info, warn, error } };
}
