import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.js';
import { scratchFolder } from './scratch-folder.js';

export interface FioJobResult {
  readonly error: number;
  readonly read: { readonly total_ios: number; readonly io_bytes: number };
  readonly write: { readonly total_ios: number; readonly io_bytes: number };
}

/** Runs one job of fio on an export. Resolves to its report, with one result per connection. */
export async function runFio(uri: string, ...options: string[]): Promise<FioJobResult[]> {
  const report = join(scratchFolder(), 'report.json');
  const output = ['--output-format=json', `--output=${report}`];
  await run('fio', '--name=job', '--ioengine=nbd', `--uri=${uri}`, ...options, ...output);
  return JSON.parse(readFileSync(report, 'utf8')).jobs;
}
