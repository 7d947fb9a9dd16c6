import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { CodedError } from '../../base/coded-error.js';
import type { Log } from '../../base/log.js';
import { KIB } from '../../base/units.js';
import { exportsOf, type ServerEvent } from '../happening.js';
import { type Deliver, DeliveryError } from './delivery.js';

/** What is kept of the output of a command, for the log. */
const MAX_OUTPUT_BYTES = 4 * KIB;
const OUTPUT_PATIENCE_MILLISECONDS = 100;
const WRITABLE_BY_OTHERS = 0o022;
const EXECUTABLE = 0o111;

/** A command gets the type of the event as its argument, and the event as JSON on stdin. */
export function commandRunner(path: string, hook: string, log: Log): Deliver {
  return async (event, signal) => {
    // A group of its own, so that what it has started ends with it.
    const child = spawn(path, [event.type], { cwd: '/', detached: true, env: environmentOf(event) });
    const output = collectOutput(child);
    const ended = endOf(child);
    const closed = once(child, 'close').catch(() => {});
    const kill = () => killGroup(child);
    signal.addEventListener('abort', kill);
    if (signal.aborted) kill();
    try {
      // It need not read its input.
      child.stdin?.on('error', () => {}).end(`${JSON.stringify(event)}\n`);
      const how = await ended;
      if (how === undefined) return;
      throw new DeliveryError(signal.aborted ? String(signal.reason) : `${path} ${how}`);
    } finally {
      signal.removeEventListener('abort', kill);
      // What it left running may hold its output open.
      await Promise.race([closed, delay(OUTPUT_PATIENCE_MILLISECONDS, undefined, { ref: false })]);
      child.stdout?.destroy();
      child.stderr?.destroy();
      const text = output();
      if (text !== '') log.debug({ hook, about: event.id, output: text }, 'a hook wrote something');
    }
  };
}

/** @throws CodedError CONFIG_INVALID if it is not a program that only its owner, root or this user, can change */
export async function checkCommand(path: string, hook: string): Promise<void> {
  const refuse = (what: string, hint: string) => {
    throw new CodedError('CONFIG_INVALID', `the command ${path} of the hook ${hook} ${what}`, hint);
  };
  try {
    const stats = await stat(path);
    if (!stats.isFile() || (stats.mode & EXECUTABLE) === 0) refuse('is not a program', `try chmod +x ${path}`);
    if (stats.uid !== 0 && stats.uid !== process.geteuid?.()) {
      refuse('belongs to another user, who could change it', `run chown root ${path}`);
    }
    if ((stats.mode & WRITABLE_BY_OTHERS) !== 0) refuse('can be changed by other users', `run chmod go-w ${path}`);
  } catch (error) {
    if (error instanceof CodedError) throw error;
    refuse(`cannot be read: ${(error as Error).message}`, 'check the path');
  }
}

/** Nothing of the server's own environment, which may have secrets in it. */
function environmentOf(event: ServerEvent): NodeJS.ProcessEnv {
  const [name] = exportsOf(event);
  return {
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    TIDEMARK_EVENT: event.type,
    TIDEMARK_AT: event.at,
    // The environment cannot have the character that ends its entries.
    ...(name !== undefined && !name.includes('\0') && { TIDEMARK_EXPORT: name }),
  };
}

/** Resolves when it has ended: to how it failed, or undefined if it did not. */
async function endOf(child: ChildProcess): Promise<string | undefined> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    if (code === 0) return undefined;
    return signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
  } catch (error) {
    return `could not be started: ${(error as Error).message}`;
  }
}

function collectOutput({ stdout, stderr }: ChildProcess): () => string {
  const kept: Buffer[] = [];
  let bytes = 0;
  const take = (part: Buffer) => {
    if (bytes < MAX_OUTPUT_BYTES) kept.push(part.subarray(0, MAX_OUTPUT_BYTES - bytes));
    bytes += part.length;
  };
  stdout?.on('data', take);
  stderr?.on('data', take);
  return () => Buffer.concat(kept).toString('utf8').trim();
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
