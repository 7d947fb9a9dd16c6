import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { onTestFinished } from 'vitest';

export type ListenAddress = { readonly path: string } | { readonly host: string; readonly port: number };

export interface Peer {
  /** What it has written so far, on stdout and stderr. */
  output(): string;
  /** Sends the signal, and does not wait for anything. */
  signal(signal: NodeJS.Signals): void;
  /** Sends the signal and waits for the end. Resolves to the exit code, or null if a signal ended it. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

const START_SECONDS = 30;
const STOP_SECONDS = 10;

/** Starts a server program in the foreground and waits until it listens. It ends with the test. */
export async function startPeer(command: string, args: readonly string[], listensOn: ListenAddress): Promise<Peer> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const exited = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('exit', resolve));
  const peer: Peer = {
    output: () => output,
    signal: (signal) => void child.kill(signal),
    stop: (signal = 'SIGTERM') => stop(child, exited, signal),
  };
  onTestFinished(async () => void (await peer.stop()));

  const endedEarly = exited.then(() => {
    throw new Error(`${command} ended before it listened:\n${output}`);
  });
  await Promise.race([untilListening(listensOn), endedEarly]);
  endedEarly.catch(() => {});
  return peer;
}

/** Resolves when connections are accepted there. */
export async function untilListening(address: ListenAddress): Promise<void> {
  for (const deadline = Date.now() + START_SECONDS * 1000; Date.now() < deadline; await delay(10)) {
    if (await accepts(address)) return;
  }
  throw new Error(`nobody listens on ${JSON.stringify(address)} after ${START_SECONDS} s`);
}

async function stop(
  child: ChildProcess,
  exited: Promise<number | null>,
  signal: NodeJS.Signals,
): Promise<number | null> {
  child.kill(signal);
  const kill = setTimeout(() => child.kill('SIGKILL'), STOP_SECONDS * 1000);
  try {
    return await exited;
  } finally {
    clearTimeout(kill);
  }
}

function accepts(address: ListenAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
