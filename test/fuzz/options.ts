import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { testSeed } from '../support/random.js';

export interface FuzzOptions {
  readonly seconds: number;
  /** Infinity to run until the time is up. */
  readonly messages: number;
  readonly seed: number;
  /** The names of targets; empty for all. */
  readonly targets: readonly string[];
  /** Only these iterations of each target. */
  readonly iterations: { readonly first: number; readonly last: number } | undefined;
  /** The file for a reproducer. */
  readonly reproducer: string;
}

export const USAGE = `usage: npm run fuzz -- [--seconds N] [--messages N] [--seed S] [--target NAME]... [--iteration I]
       npm run fuzz -- --replay FILE

  --seconds N     stop after so many seconds (default 60; no limit when --messages is given)
  --messages N    stop after so many messages
  --seed S        a number; the same seed gives the same messages (default: TIDEMARK_SEED, or a new one, which is printed)
  --target NAME   handshake, tls, transmission, http, client, qcow2 or manifests; may be repeated (default: all)
  --iteration I   only iteration I of the target, on a new server
  --replay FILE   run what the file of an earlier failure says: its iteration alone, then all up to it`;

/** @throws Error that says what is wrong */
export function parseFuzzOptions(args: readonly string[]): FuzzOptions & { readonly replay: boolean } {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ seconds: text, messages: text, seed: text, iteration: text, replay: text },
      target: { type: 'string', multiple: true },
    },
  });
  const { replay } = values;
  const given = replay === undefined ? values : { ...JSON.parse(readFileSync(replay, 'utf8')), seconds: '3600' };
  const messages = numberOf('messages', given.messages, Number.POSITIVE_INFINITY);
  const unlimited = messages === Number.POSITIVE_INFINITY ? 60 : Number.POSITIVE_INFINITY;
  const iteration = given.iteration === undefined ? undefined : numberOf('iteration', given.iteration, 0);
  return {
    messages,
    seconds: numberOf('seconds', given.seconds, unlimited),
    seed: given.seed === undefined ? testSeed() : numberOf('seed', given.seed, 0),
    targets: given.target ?? [],
    iterations: iteration === undefined ? undefined : { first: iteration, last: iteration },
    reproducer: replay ?? join(tmpdir(), 'tidemark-fuzz-failure.json'),
    replay: replay !== undefined,
  };
}

function numberOf(name: string, value: string | number | undefined, otherwise: number): number {
  if (value === undefined) return otherwise;
  const number = Number(value);
  if (Number.isNaN(number) || number < 0) throw new Error(`invalid --${name} "${value}" (expected a number)`);
  return number;
}
