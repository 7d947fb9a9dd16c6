import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { makeImage } from '../support/image.js';
import { run } from '../support/run.js';
import { startTidemark } from '../support/tidemark.js';

test('nbd-client -l lists the exports', async () => {
  const server = await startTidemark(`first=${makeImage(MIB)}`, `second=${makeImage(MIB)}`);
  const listed = await run('nbd-client', '-l', '127.0.0.1', String(server.port));
  expect(listed.split('\n').filter((line) => line !== '' && !line.startsWith('Negotiation'))).toEqual([
    'first',
    'second',
  ]);
});
