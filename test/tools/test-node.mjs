// Runs the unit and interop tests, or the test files that are named, on other versions of Node:
//   npm run test:node -- 22 24 26 [TEST-FILE]...
// Of each version the newest in npm's packages of Node's binaries is installed, in node_modules/.cache. What the tests start,
// servers and threads, runs on the same version. Plain Node, as the other tools.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const args = process.argv.slice(2);
const versions = args.filter((arg) => /^\d+(\.\d+)*$/.test(arg));
const rest = args.filter((arg) => !versions.includes(arg));
// Tests of crashes are long, and have a command of their own.
const files = rest.length > 0 ? rest : ['--project', 'unit', '--project', 'system'];

/**
 * Installs the newest Node of that major version, or exactly that version.
 * @param {string} version
 */
function installNode(version) {
  const folder = join(root, 'node_modules/.cache', `node-${version}`);
  mkdirSync(folder, { recursive: true });
  // Else npm would take the project around it for the one to install in.
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const name = `node-linux-${process.arch}`;
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--no-save', `${name}@${version}`], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return join(folder, 'node_modules', name, 'bin/node');
}

/**
 * @param {string} node
 * @param {string} version
 */
function runTests(node, version) {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const env = { ...process.env, PATH: [dirname(node), process.env.PATH].join(delimiter), TIDEMARK_NODE: version };
  return spawnSync(node, [vitest, 'run', ...files], { cwd: root, env, stdio: 'inherit' }).status === 0;
}

if (versions.length === 0) throw new Error('name the versions of Node to test: npm run test:node -- 22 24 26');
const failed = [];
for (const version of versions) {
  const node = installNode(version);
  const running = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  console.log(`\nNode ${running}`);
  if (!runTests(node, running)) failed.push(running);
}
console.log(failed.length > 0 ? `failed on ${failed.join(', ')}` : `passed on ${versions.join(', ')}`);
process.exitCode = failed.length > 0 ? 1 : 0;
