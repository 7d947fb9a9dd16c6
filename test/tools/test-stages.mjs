// `npm test`: runs everything in stages, and prints at the end how long each took and how many tests passed and failed.
// Arguments go to vitest: npm test -- test/cli. Plain Node, because it runs before there are any packages.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const filters = process.argv.slice(2);

/**
 * @typedef {{ passed: number, failed: number, skipped: number }} Counts
 * @typedef {{ name: string, command: string[], isVital?: boolean, isTests?: boolean }} Stage
 */

/** @param {string} name @returns {Stage} */
const tool = (name) => ({
  name: name.replace('ensure-', ''),
  command: [process.execPath, join(import.meta.dirname, `${name}.mjs`)],
  isVital: true,
});

/** @param {string} project of vitest.config.ts @returns {Stage} */
const tests = (project) => ({
  name: `${project} tests`,
  command: [process.execPath, vitest, 'run', '--project', project, '--passWithNoTests', ...filters],
  isTests: true,
});

/** Nothing runs after a vital stage that failed. @type {Stage[]} */
const stages = [
  tool('ensure-packages'),
  tool('ensure-debian-tools'),
  tool('ensure-kernel'),
  tool('ensure-newer-peers'),
  { name: 'check', command: ['npm', 'run', '--silent', 'check'] },
  { name: 'build', command: ['npm', 'run', '--silent', 'build'], isVital: true },
  tests('unit'),
  tests('system'),
  tests('crash'),
];

/**
 * A failed stage counts as a failure even if none of its tests failed.
 * @param {Stage} stage
 * @param {string} countsFile
 */
function run({ command: [program = '', ...args], isTests }, countsFile) {
  rmSync(countsFile, { force: true });
  const startedAt = performance.now();
  const env = isTests ? { ...process.env, TIDEMARK_TEST_COUNTS: countsFile } : process.env;
  const { status } = spawnSync(program, args, { cwd: root, env, stdio: 'inherit' });
  const seconds = (performance.now() - startedAt) / 1000;
  /** @type {Counts} */
  const counts = existsSync(countsFile)
    ? JSON.parse(readFileSync(countsFile, 'utf8'))
    : { passed: 0, failed: 0, skipped: 0 };
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  return { ...counts, seconds };
}

/** @param {Counts} counts */
const inWords = ({ passed, failed, skipped }) =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;

const folder = mkdtempSync(join(tmpdir(), 'tidemark-stages-'));
const sum = { passed: 0, failed: 0, skipped: 0 };
const lines = [];
try {
  for (const stage of stages) {
    const result = run(stage, join(folder, 'counts.json'));
    sum.passed += result.passed;
    sum.failed += result.failed;
    sum.skipped += result.skipped;
    const outcome = stage.isTests ? inWords(result) : result.failed > 0 ? 'failed' : '';
    lines.push(`  ${stage.name.padEnd(14)} ${result.seconds.toFixed(1).padStart(7)} s  ${outcome}`.trimEnd());
    if (stage.isVital && result.failed > 0) break;
  }
} finally {
  rmSync(folder, { recursive: true });
}
console.log(`\nStages\n${lines.join('\n')}\n`);
console.log(inWords(sum));
process.exitCode = sum.failed > 0 ? 1 : 0;
