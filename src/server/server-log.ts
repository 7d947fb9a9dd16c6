import { type Logger, pino } from 'pino';
import { printableJson } from '../base/printable.js';
import { loadPosix } from '../posix/posix.js';
import type { ServerConfig } from './config.js';
import { type LogChannel, openLogChannel } from './log-channel.js';
import { LogOutput } from './log-output.js';
import { stderrIsClient } from './stdio-socket.js';

const STDERR = 2;
/** How long the last lines may wait for a reader when the server ends. */
const END_PATIENCE_MILLISECONDS = 1000;

export interface ServerLog {
  readonly log: Logger;
  /** Resolves when all lines are written, or nobody has read them for a while. */
  end(): Promise<void>;
}

/** JSON lines on stderr, which never wait for their reader. Warnings of Node go there too, as it would write them synchronously. */
export function openServerLog({ logLevel: level, stdio }: Pick<ServerConfig, 'logLevel' | 'stdio'>): ServerLog {
  const discard: LogChannel = (bytes) => bytes.length;
  // inetd makes the client's socket stderr too.
  const channel = stdio && stderrIsClient() ? discard : openLogChannel(STDERR, loadPosix());
  const output = new LogOutput(channel);
  const log = pino({ level, base: null, hooks: { streamWrite: printableJson } }, output);
  process.removeAllListeners('warning');
  process.on('warning', (err) => log.warn({ err }, 'a warning of Node'));
  return { log, end: () => output.end(END_PATIENCE_MILLISECONDS) };
}
