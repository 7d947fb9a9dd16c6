import { type Logger, pino } from 'pino';
import { printableJson } from '../base/printable.js';
import { loadPosix } from '../posix/posix.js';
import type { ServerConfig } from './config.js';
import { type LogChannel, openLogChannel } from './log-channel.js';
import { LogOutput } from './log-output.js';
import { stderrIsClient } from './stdio-socket.js';

const STDERR = 2;
/** How long to wait for a reader of the last lines when the server ends. */
const END_PATIENCE_MILLISECONDS = 1000;

export interface ServerLog {
  readonly log: Logger;
  /** Resolves when all lines are written, or nobody has read any for a while. */
  end(): Promise<void>;
}

/** Logs JSON lines to stderr without waiting for their reader. Also logs warnings of Node, which would write them synchronously. */
export function openServerLog({ logLevel: level, stdio }: Pick<ServerConfig, 'logLevel' | 'stdio'>): ServerLog {
  const discard: LogChannel = (bytes) => bytes.length;
  // Under inetd, stderr is the client's socket too.
  const channel = stdio && stderrIsClient() ? discard : openLogChannel(STDERR, loadPosix());
  const output = new LogOutput(channel);
  const log = pino({ level, base: null, hooks: { streamWrite: printableJson } }, output);
  process.removeAllListeners('warning');
  process.on('warning', (err) => log.warn({ err }, 'Node.js warning'));
  return { log, end: () => output.end(END_PATIENCE_MILLISECONDS) };
}
