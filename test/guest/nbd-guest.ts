import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeInitramfs } from './initramfs.js';
import { findKernel } from './kernel.js';
import { Machine } from './machine.js';

const START_SECONDS = 150;
const COMMAND_SECONDS = 150;

/** The address at which the guest reaches this machine's loopback. */
const HOST = '10.0.2.2';

/** A machine whose kernel is a client of NBD: Linux, nbd-client, and the tools of file systems. */
export class NbdGuest {
  /** How far the output has been read. */
  private answersRead = 0;
  private devices = 0;

  private constructor(
    private readonly machine: Machine,
    private readonly folder: string,
  ) {}

  /** The caller has to kill it. */
  static async start(): Promise<NbdGuest> {
    const kernel = findKernel();
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-'));
    const initramfs = join(folder, 'initramfs');
    await makeInitramfs(initramfs, {
      kernel,
      modules: ['virtio_pci', 'virtio_net', 'nbd', 'xfs'],
      init: join(import.meta.dirname, 'nbd-init.sh'),
      folders: ['mnt'],
      programs: ['nbd-client', 'mke2fs', 'e2fsck', 'mkfs.xfs', 'xfs_repair', 'xfs_io', 'fstrim', 'blkdiscard'],
    });
    const machine = Machine.start({
      kernel,
      initramfs,
      boot: 'console=ttyS1 panic=-1',
      memoryMebibytes: 640,
      options: [
        ...['-smp', '2', '-serial', `file:${consoleLog(folder)}`],
        ...['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='],
      ],
    });
    const guest = new NbdGuest(machine, folder);
    await guest.untilReady().catch(async (error) => {
      await guest.kill();
      throw error;
    });
    return guest;
  }

  /** Runs a shell command to its end. Resolves to its output. @throws Error if it fails */
  async run(command: string): Promise<string> {
    this.machine.send(command);
    const { index, length, output, code } = await this.machine.until(command, COMMAND_SECONDS, (received) => {
      const answer = /\[exit (\d+)\]\n/.exec(received.slice(this.answersRead));
      if (!answer) return undefined;
      const start = this.answersRead;
      const end = start + answer.index;
      return { index: end, length: answer[0].length, output: received.slice(start, end), code: Number(answer[1]) };
    });
    this.answersRead = index + length;
    if (code === 0) return output;
    throw new Error(`in the guest, ${command} ended with ${code}:\n${output}\nThe kernel says:\n${this.kernelLog()}`);
  }

  /** Copies a file of this machine, which may have some kilobytes. */
  async copyIn(from: string, to: string): Promise<void> {
    await this.run(`echo ${readFileSync(from, 'base64')} | base64 -d >${to}`);
  }

  /** Attaches an export that is served on a port of this machine. Resolves to the path of its device in the guest. */
  async attach(exportName: string, port: number, options: readonly string[] = []): Promise<string> {
    const device = `/dev/nbd${this.devices++}`;
    await this.run(`nbd-client -N ${exportName} ${HOST} ${port} ${device} ${options.join(' ')}`);
    return device;
  }

  async kill(): Promise<void> {
    await this.machine.kill();
    rmSync(this.folder, { recursive: true });
  }

  private async untilReady(): Promise<void> {
    const sign = '[ready]\n';
    const isReady = (output: string) => output.includes(sign) || undefined;
    await this.machine.until('it takes commands', START_SECONDS, isReady);
    this.answersRead = this.machine.output.indexOf(sign) + sign.length;
  }

  private kernelLog(): string {
    return readFileSync(consoleLog(this.folder), 'utf8').split('\n').slice(-20).join('\n');
  }
}

const consoleLog = (folder: string) => join(folder, 'console.log');
