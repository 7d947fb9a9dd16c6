import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { onTestFinished } from 'vitest';
import { type Outcome, outcomeOf } from './run.js';
import { scratchFolder } from './scratch-folder.js';

const captureProgram = resolve(import.meta.dirname, 'capture.py');

/** A network of its own: a machine, as far as its addresses go. */
interface Machine {
  readonly address: string;
  /** Runs a program to its end. */
  run(program: string, ...args: string[]): Promise<Outcome>;
  /** Starts a program that ends with the test. */
  start(program: string, ...args: string[]): ChildProcess;
}

interface TwoMachines {
  readonly server: Machine;
  readonly client: Machine;
  /** Records what crosses the wire between them until `stop`, which resolves to all of it. */
  capture(): Promise<{ stop(): Promise<Buffer> }>;
}

/** Two network namespaces with a cable between them. They end with the test. Without root, they have a user's root. */
export async function twoMachines(): Promise<TwoMachines> {
  const isRoot = process.getuid?.() === 0;
  const server = await hold('unshare', ...(isRoot ? [] : ['--user', '--map-root-user']), '--net');
  const enterServer = ['--target', String(server), ...(isRoot ? [] : ['--user', '--preserve-credentials']), '--net'];
  const client = await hold('nsenter', ...enterServer, 'unshare', '--net');
  const enterClient = enterServer.map((word) => (word === String(server) ? String(client) : word));
  const inServer = (...words: string[]) => succeed('nsenter', ...enterServer, ...words);
  const inClient = (...words: string[]) => succeed('nsenter', ...enterClient, ...words);
  await inServer('ip', 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', String(client));
  for (const [run, address] of [
    [inServer, '10.77.0.1'],
    [inClient, '10.77.0.2'],
  ] as const) {
    await run('ip', 'address', 'add', `${address}/24`, 'dev', 'cable');
    await run('ip', 'link', 'set', 'cable', 'up');
    await run('ip', 'link', 'set', 'lo', 'up');
  }
  const serverMachine = machine('10.77.0.1', enterServer);
  return {
    server: serverMachine,
    client: machine('10.77.0.2', enterClient),
    async capture() {
      const path = join(scratchFolder(), 'packets');
      const child = serverMachine.start('python3', captureProgram, 'cable', path);
      await said(child, 'recording');
      return {
        async stop() {
          child.kill('SIGTERM');
          await said(child, 'lost 0');
          return readFileSync(path);
        },
      };
    },
  };
}

/** Starts a shell in a new namespace, which keeps it. Resolves to its process ID. */
async function hold(program: string, ...words: string[]): Promise<number> {
  const holder = spawn(program, [...words, 'sh', '-c', 'echo $$; exec cat >/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const gone = once(holder, 'exit');
  onTestFinished(async () => {
    holder.stdin.end();
    await gone;
  });
  const [pid] = await once(holder.stdout, 'data');
  return Number(pid);
}

function machine(address: string, enter: readonly string[]): Machine {
  return {
    address,
    run: (program, ...args) => outcomeOf('nsenter', ...enter, program, ...args),
    start(program, ...args) {
      const child = spawn('nsenter', [...enter, program, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
      const gone = once(child, 'exit');
      onTestFinished(async () => {
        child.kill();
        await gone;
      });
      return child;
    },
  };
}

/** Waits until a program has printed a text. */
export async function said(child: ChildProcess, text: string): Promise<void> {
  let output = '';
  for await (const chunk of child.stdout!.iterator({ destroyOnReturn: false })) {
    output += chunk;
    if (output.includes(text)) return;
  }
  throw new Error(`expected "${text}" of the program, and got:\n${output}`);
}

async function succeed(program: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await outcomeOf(program, ...args);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${stderr}`);
}
