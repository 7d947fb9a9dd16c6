import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

interface Finding {
  readonly subject: string;
  readonly state: string;
}

async function findings(folder: string): Promise<Map<string, string>> {
  const report = JSON.parse(await run(process.execPath, tidemarkProgram, 'doctor', folder, '--json'));
  return new Map(report.findings.map(({ subject, state }: Finding) => [subject, state]));
}

test('a folder on a disk gets a full report, and nothing is left in it', async () => {
  const folder = scratchFolder();
  const found = await findings(folder);
  for (const subject of ['Node', 'store', 'native calls', 'folder', 'cached reads', 'locks', 'punch hole', 'holes']) {
    expect(found.get(subject), subject).toBe('ok');
  }
  for (const subject of ['thread pool', 'open files', 'socket buffers', 'clone', 'zero range']) {
    expect(found.get(subject), subject).toMatch(/^(ok|missing)$/);
  }
  expect(readdirSync(folder)).toEqual([]);
});

test('tmpfs supports neither cached reads nor clones', async () => {
  const found = await findings(scratchFolder('tmpfs'));
  expect(found.get('cached reads')).toBe('missing');
  expect(found.get('clone')).toBe('missing');
  expect(found.get('punch hole')).toBe('ok');
});

test('a folder that cannot be written to is fatal', async () => {
  const { code, stdout, stderr } = await outcomeOf(process.execPath, tidemarkProgram, 'doctor', '/nonexistent');
  expect(code).toBe(1);
  expect(stdout).toMatch(/^folder +fatal +files cannot be created/m);
  expect(stderr).toMatch(/^tidemark: a server cannot run here: folder \(.+\)\n$/);
});

test('a small thread pool is reported, a large one is not', async () => {
  const doctor = [process.execPath, tidemarkProgram, 'doctor', scratchFolder()];
  expect(await run('env', 'UV_THREADPOOL_SIZE=16', ...doctor)).toMatch(/^thread pool +missing +16 threads: /m);
  expect(await run('env', '-u', 'UV_THREADPOOL_SIZE', ...doctor)).toMatch(/^thread pool +ok +64 threads$/m);
});
