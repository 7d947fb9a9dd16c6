import { isAbsolute } from 'node:path';
import { Glob } from '../../access/glob.js';
import { CodedError } from '../../base/coded-error.js';
import { isLoopback } from '../../base/host-port.js';
import { Given, path, readOption, repeated, splitAtSingleCommas, text, whole } from '../../base/setting.js';

const DEFAULT_TIMEOUT_SECONDS = 10;
/** With the waits between them, the last one is about an hour and three quarters after the first. */
const DEFAULT_TRIES = 8;

const pattern = (what: string) => text('PATTERN', what, (given) => (given === '' ? undefined : new Glob(given)));

/** The options of a hook on the command line. */
const options = {
  events: repeated(pattern('a pattern for types of events, such as "backup-*"')),
  exports: repeated(pattern('a pattern for the names of exports, such as "vm*"')),
  command: text('PATH', 'the absolute path of a program', (given) => (isAbsolute(given) ? given : undefined)),
  url: text('URL', 'an https:// URL, or http:// with a loopback address', parseUrl),
  'secret-file': path('FILE'),
  timeout: whole('SECONDS', 1, 3600),
  tries: whole('N', 1, 20),
};

/** The keys of a hook in the configuration file. */
export const hookKeys = {
  name: text('NAME', 'a name of letters, digits, dots, hyphens and underscores', parseName),
  ...options,
};

export const HOOK_GRAMMAR =
  'NAME[,events=PATTERN]...[,exports=PATTERN]...,command=PATH|url=URL[,secret-file=FILE][,timeout=SECONDS][,tries=N]';

/** Whom a hook tells, and of what. */
export interface HookSpec {
  readonly name: string;
  /** Types of events. */
  readonly events: readonly Glob[];
  /** If there are any: only events about one of these exports. */
  readonly exports: readonly Glob[];
  readonly target:
    | { readonly kind: 'command'; readonly path: string }
    | { readonly kind: 'webhook'; readonly url: string; readonly secretFile: string | undefined };
  readonly timeoutSeconds: number;
  /** How often an event is sent until the hook succeeds. */
  readonly tries: number;
}

/** The hook with these settings, or what is wrong with them. */
export function hookOf(given: Given<typeof hookKeys>): HookSpec | string {
  const name = given.last('name');
  const command = given.last('command');
  const url = given.last('url');
  const secretFile = given.last('secret-file');
  if (name === undefined) return 'name is missing';
  if ((command === undefined) === (url === undefined)) return `the hook ${name} needs either a command or a url`;
  if (url === undefined && secretFile !== undefined) return `the hook ${name} has a secret-file, but no url`;
  return {
    name,
    events: given.has('events') ? given.all('events') : [new Glob('*')],
    exports: given.all('exports'),
    target: url !== undefined ? { kind: 'webhook', url, secretFile } : { kind: 'command', path: command! },
    timeoutSeconds: given.last('timeout') ?? DEFAULT_TIMEOUT_SECONDS,
    tries: given.last('tries') ?? DEFAULT_TRIES,
  };
}

/** Parses a hook from the command line. A comma in a value is doubled. @throws CodedError CONFIG_INVALID */
export function parseHookSpec(spec: string): HookSpec {
  const given = new Given(hookKeys);
  const [name, ...written] = splitAtSingleCommas(spec);
  if (!given.read('name', name)) refuse(`"${name}" is not ${hookKeys.name.expected}`);
  for (const option of written) {
    const problem = readOption(given, options, option, 'a hook');
    if (problem !== undefined) refuse(problem);
  }
  const hook = hookOf(given);
  return typeof hook === 'string' ? refuse(hook) : hook;
}

function parseName(given: string): string | undefined {
  return /^[\w.-]{1,64}$/.test(given) ? given : undefined;
}

/** Without TLS, everybody on the way could read and change what is sent. */
function parseUrl(given: string): string | undefined {
  if (!URL.canParse(given)) return undefined;
  const url = new URL(given);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(host)) ? url.href : undefined;
}

function refuse(what: string): never {
  throw new CodedError('CONFIG_INVALID', what, `a hook is written ${HOOK_GRAMMAR}`);
}
