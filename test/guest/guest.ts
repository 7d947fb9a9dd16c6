import { onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.js';
import { type GuestFiles, TOKEN } from './guest-files.js';
import { Machine } from './machine.js';

/** Emulation takes about 20 seconds if nothing else runs. While the whole test suite ran, 120 were not enough. */
const START_SECONDS = 600;

export interface GuestOptions {
  /** The NBD URI of the disk that survives. */
  readonly diskUri: string;
  /** Checks the state before tidemark starts. */
  readonly checkState: boolean;
  /** Lets the kernel write unflushed data to the disk at once, instead of after half a minute. */
  readonly eagerWriteback: boolean;
}

/** A machine with tidemark in it. */
export class Guest {
  private killed = false;

  private constructor(
    private readonly machine: Machine,
    private readonly nbdPort: number,
    private readonly httpPort: number,
  ) {}

  /** The machine ends with the test. */
  static async start(files: GuestFiles, options: GuestOptions): Promise<Guest> {
    const [nbdPort, httpPort] = [await freePort(), await freePort()];
    const wishes = `${options.checkState ? 'CHECK=yes' : ''} ${options.eagerWriteback ? 'EAGER=yes' : ''}`;
    const machine = Machine.start({
      kernel: files.kernel,
      initramfs: files.initramfs,
      boot: `console=ttyS0 quiet panic=-1 ${wishes}`,
      memoryMebibytes: 1024,
      options: devices(files, options.diskUri, nbdPort, httpPort),
    });
    const guest = new Guest(machine, nbdPort, httpPort);
    onTestFinished(() => guest.kill());
    return guest;
  }

  get uri(): string {
    return `nbd://127.0.0.1:${this.nbdPort}/disk`;
  }

  /** The output of its console and of its server. */
  get console(): string {
    return this.machine.output;
  }

  async untilServing(): Promise<void> {
    const isServing = (output: string) => output.includes('tidemark is serving') || undefined;
    await this.machine.until('it serves', START_SECONDS, isServing);
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
    await this.machine.kill();
  }
}

function devices(files: GuestFiles, diskUri: string, nbdPort: number, httpPort: number): string[] {
  const forward = (port: number, to: number) => `hostfwd=tcp:127.0.0.1:${port}-:${to}`;
  return [
    ...['-drive', `file=${files.system},format=raw,if=virtio,readonly=on`],
    ...['-drive', `file=${diskUri},format=raw,if=virtio,cache=writeback`],
    ...['-netdev', `user,id=net,restrict=on,${forward(nbdPort, 10_809)},${forward(httpPort, 8080)}`],
    ...['-device', 'virtio-net-pci,netdev=net,romfile='],
  ];
}
