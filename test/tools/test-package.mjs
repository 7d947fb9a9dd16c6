// Runs the tests with real clients against an installed package, in place of the checkout's own build.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const prefix = mkdtempSync(join(tmpdir(), 'tidemark-package-'));
try {
  const installer = resolve(import.meta.dirname, 'install-package.mjs');
  const program = execFileSync(process.execPath, [installer, prefix], { encoding: 'utf8' }).trim();
  const env = { ...process.env, TIDEMARK_PROGRAM: program };
  const { status } = spawnSync('npx', ['vitest', 'run', 'test/interop'], { cwd: root, env, stdio: 'inherit' });
  process.exitCode = status ?? 1;
} finally {
  rmSync(prefix, { recursive: true });
}
