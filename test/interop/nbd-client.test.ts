import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { makeImage } from '../support/image.js';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemark, startTidemarkIn } from '../support/tidemark.js';
import { TestAuthority } from '../support/tls-files.js';

/** The names that `nbd-client -l` prints. */
const namesIn = (output: string) => output.split('\n').filter((line) => line !== '' && !line.startsWith('Negotiation'));

test('nbd-client -l lists the exports', async () => {
  const server = await startTidemark(`first=${makeImage(MIB)}`, `second=${makeImage(MIB)}`);
  const listed = await run('nbd-client', '-l', '127.0.0.1', String(server.port));
  expect(namesIn(listed)).toEqual(['first', 'second']);
});

test('nbd-client -l lists over TLS what its certificate may see', async () => {
  const authority = await TestAuthority.create();
  const specs = [`first=${makeImage(MIB)}`, `second=${makeImage(MIB)}`];
  const options = ['--tls', 'required', '--tls-certificates', await authority.serverFolder()];
  // The second rule, about a loopback address, is what makes the rules count on this machine.
  const rules = ['--access', 'cn:guest,rights=list,exports=s*', '--access', 'address:127.0.0.2'];
  const server = await startTidemarkIn(scratchFolder(), specs, [...options, ...rules]);
  const files = await authority.clientFolder('CN=guest');
  const list = ['nbd-client', '-l', 'localhost', String(server.port)] as const;
  const trust = ['-cacertfile', join(files, 'ca-cert.pem')];
  const identity = ['-certfile', join(files, 'client-cert.pem'), '-keyfile', join(files, 'client-key.pem')];
  expect(namesIn(await run(...list, ...trust, ...identity))).toEqual(['second']);
  expect(namesIn(await run(...list, ...trust))).toEqual([]);
  const [plain, elsewhere] = [
    await outcomeOf(...list),
    await outcomeOf(...list, ...trust, ...identity, '-tlshostname', 'elsewhere'),
  ];
  expect([plain.code, plain.stderr]).toEqual([1, expect.stringContaining('this server requires TLS')]);
  expect(elsewhere.code, 'the name is not that of the certificate').toBe(1);
});
