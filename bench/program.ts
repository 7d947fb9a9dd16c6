import { type ChildProcess, spawn } from 'node:child_process';

const STOP_SECONDS = 10;
/** How much of a program's output is kept. When its server is gone, fio never stops complaining. */
const KEPT_CHARACTERS = 256 * 1024 * 1024;

export type CommandLine = readonly [program: string, ...args: string[]];

/** The same program, on one processor core only. */
export function onCore(core: number, commandLine: CommandLine): CommandLine {
  return ['taskset', '--cpu-list', String(core), ...commandLine];
}

/**
 * A program that runs beside the bench, until it is disposed of or `signal` is aborted. It has a process group of its own,
 * because a job of fio that has lost its server outlives the fio that started it.
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
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        if (this.output.length < KEPT_CHARACTERS) this.output += text;
      });
    }
    this.child = child;
    this.ended = new Promise((resolve) => child.once('error', resolve).once('exit', resolve));
    const abort = () => this.killGroup();
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
    this.killGroup();
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGTERM');
    const kill = setTimeout(() => this.killGroup(), STOP_SECONDS * 1000);
    await this.ended;
    clearTimeout(kill);
    this.killGroup();
  }

  private killGroup(): void {
    if (this.child.pid === undefined) return;
    try {
      process.kill(-this.child.pid, 'SIGKILL');
    } catch {
      // Nothing of it is left.
    }
  }
}
