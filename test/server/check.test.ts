import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { checkConfig } from '../../src/server/check-config.js';
import { resolveConfig } from '../../src/server/config.js';
import { parseConfigFile } from '../../src/server/config-file.js';
import { makeImage } from '../support/image.js';
import { outcomeOf } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemarkIn, tidemarkProgram } from '../support/tidemark.js';

const tidemark = (...args: string[]) => outcomeOf(process.execPath, tidemarkProgram, ...args);
const tableOf = (name: string, path: string, more = '') => `[[export]]\nname = "${name}"\npath = "${path}"\n${more}`;

test('a good configuration is counted, and nothing is made', async () => {
  const folder = scratchFolder();
  const [file, state] = [join(folder, 'tidemark.toml'), join(folder, 'state')];
  const rule = '[[access]]\nwho = ["any"]\nrights = ["read"]\n';
  const made = tableOf('vm2', join(folder, 'vm2.img'), 'size = "1M"\n');
  writeFileSync(file, `state = "${state}"\n${tableOf('vm1', makeImage(MIB))}${made}${rule}`);
  const check = ['serve', '--check', '--config', file];
  const good = { code: 0, stderr: '' };
  expect(await tidemark(...check)).toEqual({ ...good, stdout: 'tidemark.toml: ok, 2 exports, 1 access rule\n' });
  const { stdout } = await tidemark(...check, '--json');
  expect(JSON.parse(stdout)).toEqual({ exports: 2, rules: 1 });
  expect(readdirSync(folder)).toEqual(['tidemark.toml']);
});

test('a configuration can be checked while a server uses it', async () => {
  const folder = scratchFolder();
  const image = makeImage(MIB);
  await startTidemarkIn(folder, [`vm1=${image}`]);
  const check = await tidemark('serve', '--check', '--export', `vm1=${image}`, '--state', join(folder, 'state'));
  expect(check).toEqual({ code: 0, stdout: 'the configuration: ok, 1 export, 0 access rules\n', stderr: '' });
});

test('what is wrong is said in one line, with the exit code of a start', async () => {
  const file = join(scratchFolder(), 'tidemark.toml');
  writeFileSync(file, 'max-connections = "many"\n');
  const { code, stdout, stderr } = await tidemark('serve', '--check', '--config', file);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(/^tidemark: tidemark\.toml:1: invalid max-connections "many" \(expected .*\)\n$/);
});

/** What is wrong, the code, the message, and the text of the file in a folder. */
type Fault = readonly [string, string, string, (folder: string) => string];

test.each<Fault>([
  ['a missing image', 'IMAGE_UNUSABLE', 'there is no image', (folder) => tableOf('vm1', join(folder, 'no.img'))],
  [
    'a missing image of a read-only disk',
    'IMAGE_UNUSABLE',
    'there is no image',
    (folder) => tableOf('vm1', join(folder, 'no.img'), 'readonly = true\nsize = "1M"\n'),
  ],
  [
    'a new image in a missing folder',
    'IMAGE_UNUSABLE',
    'cannot create the image',
    (folder) => tableOf('vm1', join(folder, 'no', 'vm1.img'), 'size = "1M"\n'),
  ],
  ['a folder as an image', 'IMAGE_UNUSABLE', 'is a folder', (folder) => tableOf('vm1', folder)],
  [
    'two disks of one name',
    'EXPORT_EXISTS',
    'two exports "vm1"',
    (folder) => {
      const image = join(folder, 'vm1.img');
      writeFileSync(image, Buffer.alloc(4096));
      return tableOf('vm1', image) + tableOf('vm1', image);
    },
  ],
  [
    'TLS for a disk alone',
    'EXPORT_INVALID',
    'requires TLS',
    (folder) => tableOf('vm1', join(folder, 'vm1.img'), 'size = "1M"\ntls = "required"\n'),
  ],
  ['certificates that are not there', 'TLS_UNUSABLE', '/nonexistent', () => 'tls-certificates = "/nonexistent"\n'],
  ['a user that does not exist', 'CONFIG_INVALID', 'no-such-user', () => '[[access]]\nwho = ["user:no-such-user"]\n'],
  ['an image root that does not exist', 'CONFIG_INVALID', '/nonexistent', () => 'image-root = "/nonexistent"\n'],
  ['a socket in a missing folder', 'ADDRESS_UNUSABLE', 'there is no folder', () => 'unix = "/nonexistent/nbd.sock"\n'],
  [
    'a hook without its command',
    'CONFIG_INVALID',
    'cannot be read',
    () => '[[hook]]\nname = "mail"\ncommand = "/nonexistent"\n',
  ],
  [
    'a token file that everybody may read',
    'CONFIG_INVALID',
    'every user can read',
    (folder) => {
      const file = join(folder, 'token');
      writeFileSync(file, 'secret');
      chmodSync(file, 0o644);
      return `http = "127.0.0.1:0"\nhttp-token-file = "${file}"\n`;
    },
  ],
])('%s is found', async (_what, code, message, textIn) => {
  const folder = join(scratchFolder(), 'images');
  mkdirSync(folder);
  const state = join(folder, '..', 'state');
  const config = resolveConfig(undefined, parseConfigFile(`state = "${state}"\n${textIn(folder)}`, 't.toml'));
  await expect(checkConfig(config)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  expect(existsSync(state)).toBe(false);
});
