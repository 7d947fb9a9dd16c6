import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { type Outcome, outcomeOf } from './run.js';
import { tidemarkProgram } from './tidemark.js';

const WAIT_SECONDS = 30;

/** Runs a command of tidemark to its end. */
export function tidemark(...args: string[]): Promise<Outcome> {
  return outcomeOf(process.execPath, tidemarkProgram, ...args);
}

export interface RunningAgent {
  /** Ends it. Resolves to its outcome. */
  end(signal: NodeJS.Signals): Promise<Outcome>;
  /** Resolves to its outcome when it ends by itself. */
  readonly ended: Promise<Outcome>;
}

/** Starts `tidemark pull`, and resolves when it has begun to write to `folder`. */
export async function startPull(folder: string, ...args: string[]): Promise<RunningAgent> {
  const child = spawn(process.execPath, [tidemarkProgram, 'pull', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const ended = new Promise<Outcome>((resolve) =>
    child.once('close', (code) => resolve({ code: code ?? -1, stdout, stderr })),
  );
  for (const deadline = Date.now() + WAIT_SECONDS * 1000; !isWriting(folder); await delay(5)) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`no image was begun:\n${stdout}${stderr}`);
  }
  return {
    ended,
    end(signal) {
      child.kill(signal);
      return ended;
    },
  };
}

function isWriting(folder: string): boolean {
  return existsSync(folder) && readdirSync(folder).some((name) => name.endsWith('.partial'));
}
