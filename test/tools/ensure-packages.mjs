// Installs the npm packages if node_modules is missing or does not match package-lock.json. Plain Node, because it runs
// before there are any packages.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/** @param {string} file */
const packagesOf = (file) => JSON.parse(readFileSync(join(root, file), 'utf8')).packages;

/** npm keeps a second lock file in node_modules, which says what is really installed. */
function isUpToDate() {
  const installedFile = 'node_modules/.package-lock.json';
  if (!existsSync(join(root, installedFile))) return false;
  const installed = packagesOf(installedFile);
  return Object.entries(packagesOf('package-lock.json')).every(([path, wanted]) => {
    if (path === '') return true;
    const found = installed[path];
    // Packages for other processors and systems are listed but not installed.
    return found ? found.version === wanted.version : wanted.optional === true;
  });
}

if (!isUpToDate()) {
  console.log('Installing the npm packages');
  // Not `npm ci`, which refuses the lock file if the registry lacks the binaries of another platform. No package needs
  // its install script, and the tests need the development packages whatever NODE_ENV says.
  const options = ['--no-save', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund'];
  const { status } = spawnSync('npm', ['install', ...options], { cwd: root, stdio: 'inherit' });
  process.exitCode = status ?? 1;
}
