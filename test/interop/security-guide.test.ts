import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';
import { said, twoMachines } from '../support/two-machines.js';

const guide = readFileSync(resolve(import.meta.dirname, '../../docs/security.md'), 'utf8');

/** Folders that each machine has for itself. */
const OWN_FOLDERS = ['/etc', '/srv', '/backup'];

/** `ssh` runs a command for the other machine, and `scp` copies to it, with the folders of that machine. */
const SHELL = `
set -eu
tidemark() { "$NODE" "$TIDEMARK" "$@"; }
folderOf() { echo "$MACHINES/\${1#root@}"; }
ssh() { local at; at=$(folderOf "$1"); shift
  (export TIDEMARK_CONTROL=$at/control.sock; eval "$(printf %s "$*" | sed "s#/etc/#$at/etc/#g")"); }
scp() { local to=\${!#}; cp "\${@:1:$#-1}" "$(folderOf "\${to%%:*}")\${to#*:}"; }
`;

type Place = 'anywhere' | 'vm1' | 'backup';

/** The commands below a heading of the guide that run in one place. */
function commandsOf(heading: string, wanted: Place): string[] {
  const section = guide.split(`\n### ${heading}\n`)[1]!;
  const [, block] = /```\n(.*?)```/s.exec(section)!;
  const lines = block!.trimEnd().replaceAll('\\\n', ' ').split('\n');
  return lines.flatMap((line) => {
    const [, place = 'anywhere', command] = /^(vm1|backup)?\$ (.*)$/.exec(line)!;
    return place === wanted ? [command!] : [];
  });
}

/** Two machines on which to follow the guide. The first one has a disk. */
async function machines() {
  const folder = scratchFolder();
  const { server, client } = await twoMachines();
  const addresses = { vm1: server.address, backup: client.address };
  for (const address of Object.values(addresses)) {
    for (const own of OWN_FOLDERS) mkdirSync(join(folder, address, own), { recursive: true });
  }
  writeFileSync(join(folder, addresses.vm1, 'srv/vm1.img'), Buffer.alloc(MIB, 7));

  const inBash = (place: Place, command: string): [string, ...string[]] => {
    let text = command.replaceAll('vm1.example', addresses.vm1).replaceAll('backup.example', addresses.backup);
    if (place !== 'anywhere') {
      const own = join(folder, addresses[place]);
      for (const name of OWN_FOLDERS) text = text.replaceAll(new RegExp(`${name}(?=/|$)`, 'gm'), `${own}${name}`);
      const state = `--json --state ${own}/state --control ${own}/control.sock`;
      text = text.replace('tidemark serve', `exec "$NODE" "$TIDEMARK" serve ${state}`);
    }
    const variables = `NODE=${process.execPath} TIDEMARK=${tidemarkProgram} MACHINES=${folder}`;
    return ['bash', '-c', `${variables}; cd ${folder}${SHELL}${text}`];
  };
  const onBackup = (heading: string) => client.run(...inBash('backup', commandsOf(heading, 'backup').join('\n')));
  let serving: ChildProcess | undefined;
  return {
    onBackup,
    /** Does what is below the heading, and resolves to what the backup machine does last. */
    async follow(heading: string) {
      const prepared = await server.run(...inBash('anywhere', commandsOf(heading, 'anywhere').join('\n')));
      expect(prepared.code, prepared.stderr).toBe(0);
      for (const command of commandsOf(heading, 'vm1')) {
        const words = inBash('vm1', command);
        if (command.startsWith('tidemark serve')) {
          serving = server.start(...words);
          await said(serving, '"pid"');
        } else expect(await server.run(...words)).toMatchObject({ code: 0 });
      }
      return onBackup(heading);
    },
    reload: () => void serving!.kill('SIGHUP'),
  };
}

const pulledInFull = { code: 0, stdout: expect.stringMatching(/^vm1: full, 1 MiB read/m) };

test('certificates, a token, and a client that is locked out: the guide works as it is written', async () => {
  const { follow, onBackup, reload } = await machines();
  expect(await follow('With certificates')).toMatchObject(pulledInFull);
  expect(await follow('With a token')).toMatchObject({ code: 0, stdout: expect.stringContaining('nightly') });
  expect(await onBackup('With certificates')).toMatchObject({ code: 0 });
  await follow('Locking a client out');
  reload();
  await expect.poll(() => onBackup('With certificates'), { timeout: 30_000 }).toMatchObject({ code: 1 });
}, 120_000);

test('keys: the guide works as it is written', async () => {
  const { follow } = await machines();
  expect(await follow('With keys')).toMatchObject(pulledInFull);
}, 120_000);
