/** Writes one line: a message that says what happened, and the facts as fields. */
export type LogLine = (fields: object, message: string) => void;

/** The part of a logger that the layers below the server use. A pino logger has this shape. */
export interface Log {
  /** Lines below this level are dropped; if it is missing, none is. It may change. */
  readonly level?: string;
  /** What each request does. Look at `isTraced` before. */
  readonly trace: LogLine;
  readonly debug: LogLine;
  readonly info: LogLine;
  readonly warn: LogLine;
  readonly error: LogLine;
}

const drop: LogLine = () => {};

export const silentLog: Log = { level: 'silent', trace: drop, debug: drop, info: drop, warn: drop, error: drop };

/** Whether lines of the level trace are not dropped. */
export function isTraced({ level }: Log): boolean {
  return level === undefined || level === 'trace';
}
