/** Writes one line: what happened in words, and the facts as fields. */
export type LogLine = (fields: object, message: string) => void;

/** What the layers below the server need of a log; a pino logger is one. */
export interface Log {
  readonly debug: LogLine;
  readonly info: LogLine;
  readonly warn: LogLine;
  readonly error: LogLine;
}

const drop: LogLine = () => {};

export const silentLog: Log = { debug: drop, info: drop, warn: drop, error: drop };
