// Packs this checkout with its build, and installs it as a user would, with only its dependencies, in the empty folder
// named by the first argument. Prints the path of the installed program.

import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const prefix = process.argv[2];
if (prefix === undefined) throw new Error('a folder to install in is needed');

/** @param {string[]} args */
const npm = (...args) =>
  execFileSync('npm', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

// Without scripts, because the build exists already and may be in use.
const [{ filename }] = JSON.parse(npm('pack', '--json', '--ignore-scripts', '--pack-destination', prefix));
const tarball = join(prefix, filename);
npm('install', '--global', '--prefix', prefix, '--prefer-offline', '--no-audit', '--no-fund', tarball);
rmSync(tarball);
console.log(join(prefix, 'bin/tidemark'));
