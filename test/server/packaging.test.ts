import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { outcomeWith } from '../support/run.js';

const unit = readFileSync('packaging/systemd/tidemark.service', 'utf8');

test('a reload of the service makes the server read its rules and certificates again', () => {
  expect(unit).toMatch(/^ExecReload=\/bin\/kill -HUP \$MAINPID$/m);
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
