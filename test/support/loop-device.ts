import { execFileSync } from 'node:child_process';
import { onTestFinished } from 'vitest';

/** A loop device that shows `file`, until the test is over. Only root may attach one. */
export function attachLoop(file: string, ...options: string[]): string {
  const device = execFileSync('losetup', ['--find', '--show', ...options, file], { encoding: 'ascii' }).trim();
  onTestFinished(() => void execFileSync('losetup', ['--detach', device]));
  return device;
}
