import { type ChildProcess, spawn } from 'node:child_process';
import { withDescendants } from './processor-time.js';

const STOP_SECONDS = 10;
/** How much of a program's output is kept. When its server is gone, fio never stops complaining. */
const KEPT_CHARACTERS = 256 * 1024 * 1024;

export type CommandLine = readonly [program: string, ...args: string[]];

/** The same program, on one processor core only. */
export function onCore(core: number, commandLine: CommandLine): CommandLine {
  return ['taskset', '--cpu-list', String(core), ...commandLine];
}

/**
 * A program that runs beside the bench, until it is disposed of or `signal` is aborted. Its children end with it, because
 * a job of fio that has lost its server would go on for ever.
 */
export class Program implements AsyncDisposable {
  /** What it has written so far, on stdout and stderr. */
  output = '';
  private readonly command: string;
  private readonly child: ChildProcess;
  private readonly ended: Promise<number | null | Error>;

  constructor(
    [command, ...args]: CommandLine,
    private readonly signal: AbortSignal,
  ) {
    signal.throwIfAborted();
    this.command = command;
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        if (this.output.length < KEPT_CHARACTERS) this.output += text;
      });
    }
    this.child = child;
    this.ended = new Promise((resolve) => child.once('error', resolve).once('exit', resolve));
    const abort = () => this.killFamily();
    signal.addEventListener('abort', abort);
    void this.ended.then(() => signal.removeEventListener('abort', abort));
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null || this.child.pid === undefined;
  }

  /** Waits until it ends, and resolves to its output. Rejects if it failed. */
  async finished(): Promise<string> {
    const outcome = await this.ended;
    this.signal.throwIfAborted();
    if (outcome instanceof Error) throw outcome;
    if (outcome !== 0) throw new Error(`${this.command} failed (exit code ${outcome}):\n${this.output}`);
    return this.output;
  }

  /** Ends it without a chance to clean up. */
  async kill(): Promise<void> {
    this.killFamily();
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGTERM');
    const kill = setTimeout(() => this.killFamily(), STOP_SECONDS * 1000);
    await this.ended;
    clearTimeout(kill);
  }

  private killFamily(): void {
    if (this.hasEnded) return;
    for (const pid of withDescendants([this.child.pid!])) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
  }
}
