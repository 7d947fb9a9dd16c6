import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Kernel } from './kernel.js';
import { programPath } from './programs.js';

export interface MachineParts {
  readonly kernel: Kernel;
  readonly initramfs: string;
  /** The kernel's command line. */
  readonly boot: string;
  readonly memoryMebibytes: number;
  /** Further options of QEMU. This process reads and writes the first serial port. */
  readonly options: readonly string[];
}

/**
 * A machine emulated in software, which needs no rights. /dev/kvm cannot be relied on: inside another virtual machine a
 * guest may start with it and then stop at an instruction that is not emulated.
 */
export class Machine {
  private received = '';

  private constructor(private readonly process: ChildProcess) {
    for (const stream of [process.stdout!, process.stderr!]) {
      stream.setEncoding('utf8').on('data', (text) => {
        this.received += text;
      });
    }
  }

  /** The caller has to kill it. */
  static start({ kernel, initramfs, boot, memoryMebibytes, options }: MachineParts): Machine {
    const fixed = [
      ...['-accel', 'tcg', '-cpu', 'max', '-m', String(memoryMebibytes)],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
      ...['-kernel', kernel.image, '-initrd', initramfs, '-append', boot],
    ];
    return new Machine(spawn(programPath('qemu-system-x86_64'), [...fixed, ...options]));
  }

  /** The output of its first serial port and of QEMU itself. */
  get output(): string {
    return this.received;
  }

  /** Sends a line to its first serial port. */
  send(line: string): void {
    this.process.stdin!.write(`${line}\n`);
  }

  /**
   * Resolves to what `find` finds in the output. @throws Error with the output if that takes too long or the machine
   * ends
   */
  async until<Found>(what: string, limitSeconds: number, find: (output: string) => Found | undefined): Promise<Found> {
    for (const deadline = Date.now() + limitSeconds * 1000; Date.now() < deadline; await delay(10)) {
      const found = find(this.received);
      if (found !== undefined) return found;
      if (this.isGone) throw new Error(`the guest ended before this: ${what}\n${this.received}`);
    }
    throw new Error(`${limitSeconds} s were not enough for this: ${what}\n${this.received}`);
  }

  /** Ends the machine without warning. */
  async kill(): Promise<void> {
    if (this.isGone) return;
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
  }

  private get isGone(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }
}
