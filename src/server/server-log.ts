import { isatty } from 'node:tty';
import { type Logger, pino } from 'pino';
import type { Log } from '../base/log.js';
import { loadPosix } from '../posix/posix.js';
import type { LogLevel, ServerConfig } from './config.js';
import { type LogChannel, openLogChannel } from './log-channel.js';
import { formatterOf } from './log-format.js';
import { LogOutput } from './log-output.js';
import { stderrIsClient } from './stdio-socket.js';

const STDERR = 2;
/** How long to wait for a reader of the last lines when the server ends. */
const END_PATIENCE_MILLISECONDS = 1000;

/** The log of a running server, whose level can change. */
export interface LogControl {
  readonly log: Log;
  setLevel(level: LogLevel): void;
}

export interface ServerLog extends LogControl {
  readonly log: Logger;
  /** Resolves when all lines are written, or nobody has read any for a while. */
  end(): Promise<void>;
}

/** Logs to stderr without waiting for its reader. Also logs warnings of Node, which would write them synchronously. */
export function openServerLog({
  logLevel: level,
  logFormat,
  stdio,
}: Pick<ServerConfig, 'logLevel' | 'logFormat' | 'stdio'>): ServerLog {
  const discard: LogChannel = (bytes) => bytes.length;
  // Under inetd, stderr is the client's socket too.
  const channel = stdio && stderrIsClient() ? discard : openLogChannel(STDERR, loadPosix());
  const format = formatterOf(logFormat, { isTerminal: isatty(STDERR), noColour: Boolean(process.env.NO_COLOR) });
  const output = new LogOutput(channel, format);
  const log = pino({ level, base: null }, output);
  process.removeAllListeners('warning');
  process.on('warning', (err) => log.warn({ err }, 'Node.js warning'));
  const setLevel = (next: LogLevel) => {
    log.level = next;
  };
  return { log, setLevel, end: () => output.end(END_PATIENCE_MILLISECONDS) };
}
