import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { GIB } from '../src/base/units.js';

/** The facts that the figures depend on. */
export function describeMachine(): string[] {
  const processors = cpus();
  return [
    `${processors.length} cores of ${processors[0]?.model.trim()}, ${Math.round(totalmem() / GIB)} GiB of memory`,
    `${distribution()}, Linux ${release()}`,
    `Node.js ${process.version}, tidemark ${describeCheckout('.')}`,
    [
      firstLine('qemu-nbd', '--version').replace(/ \(.*/, ''),
      firstLine('nbdkit', '--version'),
      `nbd-server ${/version (\S+)/.exec(firstLine('nbd-server', '-V'))?.[1]}`,
      firstLine('fio', '--version'),
    ].join(', '),
  ];
}

/** The commit that is checked out in the folder. */
export function describeCheckout(folder: string): string {
  return firstLine('git', '-C', folder, 'describe', '--always', '--dirty');
}

function distribution(): string {
  return /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown distribution';
}

function firstLine(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0]!;
}
