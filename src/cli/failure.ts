import { CommanderError } from 'commander';
import { AgentError } from '../agent/agent-error.js';
import { CodedError } from '../base/coded-error.js';
import { NbdClientError, NbdUriError } from '../client/errors.js';
import { problemOf } from '../control/error-statuses.js';
import { hasWrittenJson, writeJson, writeLine, writeText } from './output.js';

const DONE = 0;
const FAILED = 1;
const WRONG_USAGE = 2;

/** Errors in the command line or the configuration. */
const usageErrors = new Set<string>(['CONFIG_INVALID', 'EXPORT_INVALID', 'USAGE_INVALID']);

/**
 * Prints on stderr why a command failed. With `json`, also prints a problem document on stdout, unless the command has
 * already printed its document. Returns the exit code.
 */
export function reportFailure(error: unknown, json: boolean): number {
  if (error instanceof CommanderError && error.exitCode === 0) return DONE;
  const known = asCoded(error);
  const refusal = known ?? new CodedError('INTERNAL', 'tidemark failed', 'this is a bug; please report it');
  if (json && !hasWrittenJson()) writeJson(process.stdout, problemOf(refusal));
  const { message, hint, code } = refusal;
  // A group was called without a subcommand, and commander has shown the help.
  const isShown = error instanceof CommanderError && error.code === 'commander.help';
  if (known && !isShown) writeLine(process.stderr, `tidemark: ${message}${hint === '' ? '' : ` (${hint})`}`);
  if (!known) {
    writeText(process.stderr, `tidemark: ${(error as Error).stack ?? error} (this is a bug; please report it)\n`);
  }
  return usageErrors.has(code) ? WRONG_USAGE : FAILED;
}

/** Undefined if the error is a bug. */
function asCoded(error: unknown): CodedError | undefined {
  if (error instanceof CodedError) return error;
  if (error instanceof AgentError) return new CodedError('AGENT_FAILED', error.message, error.hint);
  if (error instanceof NbdUriError) return new CodedError('USAGE_INVALID', error.message, error.hint);
  if (error instanceof NbdClientError) return new CodedError('NBD_FAILED', error.message, error.hint);
  if (!(error instanceof CommanderError)) return undefined;
  const isShown = error.code === 'commander.help';
  const message = isShown ? 'the command is not complete' : error.message.replace(/^error: /, '').replace(/\.$/, '');
  return new CodedError('USAGE_INVALID', message, 'see tidemark --help');
}
