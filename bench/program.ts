import { type ChildProcess, spawn } from 'node:child_process';

const STOP_SECONDS = 10;
/** How much of a program's output is kept. When its server is gone, fio never stops complaining. */
const KEPT_CHARACTERS = 256 * 1024 * 1024;

export type CommandLine = readonly [program: string, ...args: string[]];

/** The same program, on one processor core only. */
export function onCore(core: number, commandLine: CommandLine): CommandLine {
  return ['taskset', '--cpu-list', String(core), ...commandLine];
}

/** A program that runs beside the bench, until it is disposed of or `signal` is aborted. */
export class Program implements AsyncDisposable {
  /** What it has written so far, on stdout and stderr. */
  output = '';
  private readonly command: string;
  private readonly child: ChildProcess;
  private readonly exited: Promise<number | null>;

  constructor([command, ...args]: CommandLine, signal: AbortSignal) {
    this.command = command;
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], signal });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        if (this.output.length < KEPT_CHARACTERS) this.output += text;
      });
    }
    this.child = child;
    this.exited = new Promise((resolve, reject) => child.once('error', reject).once('exit', resolve));
    this.exited.catch(() => {});
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null || this.child.pid === undefined;
  }

  /** Waits until it ends, and resolves to its output. Rejects if it failed. */
  async finished(): Promise<string> {
    const code = await this.exited;
    if (code !== 0) throw new Error(`${this.command} failed (exit code ${code}):\n${this.output}`);
    return this.output;
  }

  /** Ends it without a chance to clean up. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited.catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGTERM');
    const kill = setTimeout(() => this.child.kill('SIGKILL'), STOP_SECONDS * 1000);
    await this.exited.catch(() => {});
    clearTimeout(kill);
  }
}
