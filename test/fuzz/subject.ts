import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WrongAnswer } from './target.js';

const program = resolve(process.cwd(), 'dist/main.js');
/** More than cores, so that clients move on every machine. */
export const THREADS = 4;
const START_SECONDS = 60;
const IDLE_SECONDS = 20;
/** Log lines that say that something broke. A client that breaks the protocol is not such a case. */
const TROUBLE = /"level":(50|60)|bug|heap out of memory|unhandled/i;
const KEPT_LOG_CHARACTERS = 20_000;

export interface Footprint {
  readonly connections: number;
  readonly descriptors: number;
  readonly rssMib: number;
}

/** The server process under test. */
export class Subject implements AsyncDisposable {
  readonly socketPath: string;
  readonly controlPath: string;
  /** What went wrong in it; undefined if nothing did. */
  trouble: string | undefined;
  private log = '';
  private stopping = false;
  private readonly exited: Promise<void>;

  private constructor(
    readonly folder: string,
    private readonly child: ChildProcess,
  ) {
    this.socketPath = join(folder, 'nbd.sock');
    this.controlPath = join(folder, 'control.sock');
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text) => this.note(text));
    this.exited = new Promise((done) => {
      child.once('exit', (code, signal) => {
        if (!this.stopping) this.trouble ??= `the server ended (${signal ?? code}):\n${this.log}`;
        done();
      });
    });
  }

  static async start(folder: string, specs: readonly string[], more: readonly string[]): Promise<Subject> {
    const args = [program, 'serve', '--log-level', 'warn', '--unix', 'nbd.sock', '--control', 'control.sock'];
    args.push('--listen', '127.0.0.1:0', '--http', '127.0.0.1:0', ...more);
    args.push('--threads', String(THREADS), '--state', 'state', ...specs.flatMap((spec) => ['--export', spec]));
    const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    const subject = new Subject(folder, child);
    for (const deadline = Date.now() + START_SECONDS * 1000; Date.now() < deadline; await delay(20)) {
      if (subject.trouble !== undefined) throw new Error(subject.trouble);
      if (await subject.call('GET', '/v1/server').catch(() => undefined)) return subject;
    }
    throw new Error(`the server did not start:\n${subject.log}`);
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Makes a call of the control API that must succeed. */
  call<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    const headers = { 'content-type': 'application/json' };
    return new Promise((resolveCall, reject) => {
      const asking = request({ socketPath: this.controlPath, method, path, ...(body && { headers }) }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        response.once('end', () => {
          if (response.statusCode! < 300) resolveCall((text ? JSON.parse(text) : undefined) as Answer);
          else reject(new WrongAnswer(`${method} ${path} was refused: ${text}`));
        });
      });
      asking.once('error', reject).end(body && JSON.stringify(body));
    });
  }

  async footprint(): Promise<Footprint> {
    const { connections } = await this.call<{ connections: number }>('GET', '/v1/server');
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    const rssMib = Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
    return { connections, descriptors: readdirSync(`/proc/${this.pid}/fd`).length, rssMib };
  }

  /** Resolves when no client is connected. @throws WrongAnswer if some stay connected */
  async untilIdle(): Promise<void> {
    let connections = 0;
    for (const deadline = Date.now() + IDLE_SECONDS * 1000; Date.now() < deadline; await delay(2)) {
      connections = (await this.call<{ connections: number }>('GET', '/v1/server')).connections;
      if (connections === 0) return;
    }
    throw new WrongAnswer(`${connections} connections are left ${IDLE_SECONDS} s after all clients have gone`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopping = true;
    this.child.kill('SIGTERM');
    const kill = setTimeout(() => this.child.kill('SIGKILL'), IDLE_SECONDS * 1000);
    await this.exited;
    clearTimeout(kill);
  }

  private note(text: string): void {
    this.log = (this.log + text).slice(-KEPT_LOG_CHARACTERS);
    if (TROUBLE.test(text)) this.trouble ??= `the log of the server says: ${text.slice(0, 4000)}`;
  }
}
