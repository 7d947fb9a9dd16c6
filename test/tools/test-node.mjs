// Runs the unit and interop tests, or the test files that are named, on other versions of Node:
//   npm run test:node -- 22 24 26 [TEST-FILE]...
// The newest release of each version is installed from npm's package of Node's binaries, in node_modules/.cache. The
// servers and threads that the tests start run on the same version. Plain Node, like the other tools.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const args = process.argv.slice(2);
const versions = args.filter((arg) => /^\d+(\.\d+)*$/.test(arg));
const rest = args.filter((arg) => !versions.includes(arg));
// The crash tests take long, and have their own command.
const files = rest.length > 0 ? rest : ['--project', 'unit', '--project', 'system'];

/**
 * Installs the newest Node with this major version, or exactly this version.
 * @param {string} version
 */
function installNode(version) {
  const folder = join(root, 'node_modules/.cache', `node-${version}`);
  mkdirSync(folder, { recursive: true });
  // Otherwise npm would install into the project around it.
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
