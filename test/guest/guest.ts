import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.js';
import { type GuestFiles, TOKEN } from './guest-files.js';

const START_SECONDS = 120;

export interface GuestOptions {
  /** NBD URI of the disk that survives. */
  readonly diskUri: string;
  /** Have the state checked before tidemark starts. */
  readonly checkState: boolean;
  /** Have the kernel write to the disk at once what is not flushed, and not after half a minute. */
  readonly eagerWriteback: boolean;
}

/** A machine with tidemark in it, emulated: it needs no rights and no processor of any kind. */
export class Guest {
  private output = '';
  private killed = false;

  private constructor(
    private readonly process: ChildProcess,
    private readonly nbdPort: number,
    private readonly httpPort: number,
  ) {
    for (const stream of [process.stdout!, process.stderr!]) {
      stream.setEncoding('utf8').on('data', (text) => {
        this.output += text;
      });
    }
  }

  /** It is gone when the test is over. */
  static async start(files: GuestFiles, options: GuestOptions): Promise<Guest> {
    const [nbdPort, httpPort] = [await freePort(), await freePort()];
    const child = spawn(files.qemu, qemuOptions(files, options, nbdPort, httpPort), {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const guest = new Guest(child, nbdPort, httpPort);
    onTestFinished(() => guest.kill());
    return guest;
  }

  get uri(): string {
    return `nbd://127.0.0.1:${this.nbdPort}/disk`;
  }

  /** What its console and its server wrote. */
  get console(): string {
    return this.output;
  }

  async untilServing(): Promise<void> {
    for (const deadline = Date.now() + START_SECONDS * 1000; Date.now() < deadline; await delay(20)) {
      if (this.output.includes('tidemark is serving')) return;
      if (this.process.exitCode !== null) throw new Error(`the guest ended before it served:\n${this.output}`);
    }
    throw new Error(`the guest does not serve after ${START_SECONDS} s:\n${this.output}`);
  }

  async clearBitmap(name: string): Promise<void> {
    const url = `http://127.0.0.1:${this.httpPort}/v1/exports/disk/bitmaps/${name}/clear`;
    const answer = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${TOKEN}` } });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`the bitmap was not cleared: ${text}`);
  }

  /** Whether a connection to it may break. */
  get isKilled(): boolean {
    return this.killed;
  }

  /** Ends the machine without warning. */
  async kill(): Promise<void> {
    this.killed = true;
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
  }
}

function qemuOptions(files: GuestFiles, options: GuestOptions, nbdPort: number, httpPort: number): string[] {
  const forward = (port: number, to: number) => `hostfwd=tcp:127.0.0.1:${port}-:${to}`;
  const wishes = `${options.checkState ? 'CHECK=yes' : ''} ${options.eagerWriteback ? 'EAGER=yes' : ''}`;
  return [
    ...['-accel', 'tcg', '-cpu', 'max', '-m', '1024'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
    ...['-kernel', files.kernel, '-initrd', files.initramfs, '-append', `console=ttyS0 quiet panic=-1 ${wishes}`],
    ...['-drive', `file=${files.system},format=raw,if=virtio,readonly=on`],
    ...['-drive', `file=${options.diskUri},format=raw,if=virtio,cache=writeback`],
    ...['-netdev', `user,id=net,restrict=on,${forward(nbdPort, 10_809)},${forward(httpPort, 8080)}`],
    ...['-device', 'virtio-net-pci,netdev=net,romfile='],
  ];
}
