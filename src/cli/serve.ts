import { basename } from 'node:path';
import { type Command, Option } from 'commander';
import type { Server } from '../api/server.js';
import { CodedError } from '../base/coded-error.js';
import type { Log } from '../base/log.js';
import { SERVER_THREADS, threadCount } from '../base/thread-count.js';
import { formatCount } from '../base/units.js';
import { resolveConfig, type ServerConfig, stdioConflict } from '../server/config.js';
import { takeListenFds } from '../server/listen-fds.js';
import type { Configuration, Reread } from '../server/reload.js';
import type { ServerLog } from '../server/server-log.js';
import { endProcess } from '../server/server-threads.js';
import {
  type Flag,
  type GivenSettings,
  readFlags,
  type SettingKey,
  settingKeys,
  settings,
} from '../server/settings.js';
import { controlClient, readVersion } from './command-line.js';
import { print, writeJson } from './output.js';

const KILLED_BY_SECOND_SIGNAL = 1;
const FAILED = 1;

interface ServeOptions {
  readonly config?: string;
  readonly check?: boolean;
  readonly json?: boolean;
}

const help = `
Without --listen, --unix or --stdio, NBD is served on the sockets that systemd passes, or else on 127.0.0.1:10809.
Sizes are bytes, or take a suffix K, M, G or T.
Every flag is also a key of the configuration file, which has an [[export]] table for each disk.

Example:
  tidemark serve --export vm1=/srv/vm1.img,size=10G,bitmap=nightly --state ./state`;

export function addServeCommand(program: Command): void {
  const command = program.command('serve').description('serve disks over NBD, and accept commands');
  const flags: Flag[] = [];
  command.option('--config <FILE>', 'read settings from a TOML file');
  for (const key of settingKeys) command.addOption(toOption(key, flags));
  command.option('--check', 'check the configuration and the images, say what is wrong, and serve nothing');
  command.option('--json', 'print one line of JSON when the server is ready: its addresses and exports');
  command.addHelpText('after', help);
  command.action(async (options: ServeOptions) => serve(flags, options));
}

function toOption(key: SettingKey, noted: Flag[]): Option {
  const { argument, description, repeated } = settings[key];
  const note = (value: string | true) => noted.push({ key, value });
  const flags = argument === undefined ? `--${key}` : `--${key} <${argument}>`;
  const option = new Option(flags, repeated ? `${description} (may be repeated)` : description);
  // Commander calls the parser of a switch only if the switch has a preset value.
  return argument === undefined ? option.argParser(() => note(true)).preset('true') : option.argParser(note);
}

/**
 * Serves until a signal, or until the only client leaves (--stdio). The server's modules are loaded here, because
 * loading them takes several times as long as a whole run of any other command.
 */
async function serve(flags: readonly Flag[], options: ServeOptions): Promise<void> {
  const { config: configPath, check, json } = options;
  const inherited = takeListenFds(process.env, process.pid);
  const reread = async (): Promise<Reread> => {
    const file = configPath === undefined ? readFlags([]) : await readConfig(configPath);
    return { file, config: resolveConfig(readFlags(flags), file, inherited) };
  };
  const first = await reread();
  const { config } = first;
  if (check) return await checkOnly(config, options);
  if (config.stdio && json) throw stdioConflict('--json');
  const { openServerLog } = await import('../server/server-log.js');
  const serverLog = openServerLog(config);
  try {
    await run({ ...first, reread }, serverLog, json).finally(serverLog.end);
  } catch (error) {
    // After the error is reported: a thread still waits for the disk, and Node would wait for the thread.
    if (error instanceof CodedError && error.code === 'STOP_TIMED_OUT') setImmediate(endProcess, FAILED);
    throw error;
  }
}

async function checkOnly(config: ServerConfig, options: ServeOptions): Promise<void> {
  const { checkConfig } = await import('../server/check-config.js');
  await checkConfig(config);
  const answer = { exports: config.exports.length, rules: config.access.length };
  print(options, answer, ({ exports, rules }) => {
    const what = options.config === undefined ? 'the configuration' : basename(options.config);
    return `${what}: ok, ${formatCount(exports, 'export')}, ${formatCount(rules, 'access rule')}`;
  });
}

async function readConfig(path: string): Promise<GivenSettings> {
  const { readConfigFile } = await import('../server/config-file.js');
  return await readConfigFile(path);
}

async function run(configuration: Configuration, serverLog: ServerLog, json: boolean | undefined): Promise<void> {
  const { config } = configuration;
  const { log } = serverLog;
  // Operations that keep an invariant handle their own failures, so an unhandled one leaves nothing half done.
  process.on('unhandledRejection', (err) =>
    log.error(
      { err },
      'an operation failed in the background, and the server goes on; this is a bug, please report it',
    ),
  );
  warnOfFewThreads(log);
  // Installed before the start, so that a signal during the start stops the server as soon as it is up.
  const stopping = untilSignal((signal) => log.info({ signal }, 'a signal asks the server to stop'));
  const hangUps = collectHangUps();
  const { layGroundwork } = await import('../server/groundwork.js');
  const [groundwork, { TidemarkServer }, { SystemdNotify }] = await Promise.all([
    layGroundwork(config, log),
    import('../server/server.js'),
    import('../server/systemd-notify.js'),
  ]);
  const server = await TidemarkServer.start(configuration, serverLog, readVersion(), groundwork);
  const systemd = new SystemdNotify(process.env, log);
  try {
    systemd.ready();
    hangUps.answer(() => void server.reload('SIGHUP').catch((err: unknown) => noteBug(err, log)));
    if (json && config.controlPath !== undefined) await announce(config.controlPath);
    await Promise.race([stopping, server.clientGone]);
    systemd.stopping();
  } finally {
    await server.stop();
    systemd.close();
  }
  log.info({}, 'stopped');
}

/** What is wrong with a configuration is in the log already. */
function noteBug(err: unknown, log: Log): void {
  if (!(err instanceof CodedError)) log.error({ err }, 'a reload failed; this is a bug, please report it');
}

function warnOfFewThreads(log: Log): void {
  const threads = threadCount();
  if (threads >= SERVER_THREADS) return;
  const hint = `set UV_THREADPOOL_SIZE=${SERVER_THREADS}`;
  log.warn({ threads, hint }, 'there are few threads for disk requests: a disk that hangs may block the others');
}

/**
 * Prints one line, so that the program that started the server can read it without waiting for the end of the output.
 */
async function announce(control: string): Promise<void> {
  const server = await controlClient({ control }).get<Server>('server');
  writeJson(process.stdout, server);
}

/** Resolves on the first signal to stop; a second signal ends the program at once. */
function untilSignal(onSignal: (signal: string) => void): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false;
    const handle = (signal: string) => {
      if (stopping) endProcess(KILLED_BY_SECOND_SIGNAL);
      stopping = true;
      onSignal(signal);
      resolve();
    };
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, handle);
  });
}

/** SIGHUP asks for a reload. One that comes during the start is answered after it. */
function collectHangUps(): { answer: (reload: () => void) => void } {
  let hasCome = false;
  let answer = () => {
    hasCome = true;
  };
  process.on('SIGHUP', () => answer());
  return {
    answer: (reload) => {
      answer = reload;
      if (hasCome) reload();
    },
  };
}
