import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { makeImage } from '../support/image.js';
import { outcomeWith } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemark, tidemarkProgram } from '../support/tidemark.js';

const units = 'packaging/systemd';
const unitFile = (name: string) => readFileSync(join(units, name), 'utf8');
const unit = unitFile('tidemark.service');

test('a reload of the service fails if the server cannot use its configuration', () => {
  const state = /--state (\S+)$/m.exec(unit)?.[1];
  expect(unit).toContain(`\nExecReload=/usr/bin/env tidemark reload --control ${state}/control.sock\n`);
});

test('the service can tell the users of unix sockets apart', () => {
  expect(unit).not.toMatch(/^PrivateUsers=(?!no$)/m);
});

test.each([
  ['', 'serve --listen 0.0.0.0:10809'],
  ['/etc/tidemark/tls', '--tls-certificates /etc/tidemark/tls --export a=b'],
])('one variable of the container turns TLS on: "%s"', async (folder, expected) => {
  const env = { ...process.env, TIDEMARK: 'echo', TIDEMARK_TLS: folder };
  const { stdout } = await outcomeWith(env, 'sh', 'docker/serve.sh', '--export', 'a=b');
  expect(stdout).toContain(expected);
  expect(stdout.includes('--tls')).toBe(folder !== '');
});

test.each(readdirSync(units).filter((name) => /\.(service|socket|timer)$/.test(name)))(
  'systemd accepts %s',
  async (name) => {
    const env = { ...process.env, SYSTEMD_UNIT_PATH: `${resolve(units)}:` };
    const options = ['verify', '--man=no', '--recursive-errors=no'];
    const { code, stdout, stderr } = await outcomeWith(env, 'systemd-analyze', ...options, name.replace('@.', '@job.'));
    expect({ code, said: stdout + stderr }).toEqual({ code: 0, said: '' });
  },
);

describe('the units of backup jobs', () => {
  const kinds = ['pull', 'verify', 'prune'];
  /** The directives that confine a service, from the first to the end of its section. */
  const confinement = (text: string) => {
    const section = text.slice(text.indexOf('CapabilityBoundingSet=')).split('\n[Install]')[0]!;
    return section.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  };

  test.each(kinds)('%s is confined like the server', (kind) => {
    expect(confinement(unitFile(`tidemark-${kind}@.service`))).toEqual(confinement(unit));
    expect(confinement(unit)).toContain('ProtectSystem=strict');
  });

  test.each(kinds)('%s has a timer that makes up for missed runs', (kind) => {
    expect(unitFile(`tidemark-${kind}@.timer`)).toMatch(/^Persistent=true$/m);
  });

  test('pull, check and prune what a job file names', async () => {
    const server = await startTidemark(
      ...['vm1', 'vm2'].map((name) => `${name}=${makeImage(2 * MIB, [{ offset: 0, length: MIB }])},bitmap=nightly`),
    );
    const job = {
      ...{ EXPORTS: 'vm1 vm2', BITMAP: 'nightly', TO: scratchFolder(), TIDEMARK_CONTROL: server.control },
      KEEP: '--keep-daily 1 --keep-last 1',
    };
    expect(await runUnit('pull', job)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^vm1: full, .+\nvm2: full, /m),
    });
    expect((await runUnit('pull', job)).code).toBe(0);
    const { code, stdout } = await runUnit('verify', job);
    expect(code).toBe(0);
    expect(stdout).toContain('vm2: read 1 of 2 images');
    expect(await runUnit('prune', job)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('vm2: 1 kept, 1 dropped'),
    });
    expect(await runUnit('prune', { ...job, KEEP: '' })).toMatchObject({ code: 2 });
  });
});

/** Runs the command of a unit as systemd would. A shell expands its variables in the same way. */
function runUnit(kind: string, job: Readonly<Record<string, string>>) {
  const text = unitFile(`tidemark-${kind}@.service`);
  const [, command] = /^ExecStart=\/usr\/bin\/env tidemark (.+)$/m.exec(text)!;
  const lines = [...text.matchAll(/^Environment=(.*)$/gm)].map(([, line]) => line!).join(' ');
  const defaults = [...lines.matchAll(/"([A-Z_]+)=([^"]*)"|([A-Z_]+)=(\S*)/g)].map(([, quoted, words, name, word]) => [
    quoted ?? name!,
    (words ?? word!).replaceAll('%%', '%'),
  ]);
  const env = { ...process.env, ...Object.fromEntries(defaults), ...job };
  return outcomeWith(env, 'sh', '-c', `exec ${process.execPath} ${tidemarkProgram} ${command}`);
}
