import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { makeImage } from '../support/image.js';
import { outcomeOf } from '../support/run.js';
import { startTidemark } from '../support/tidemark.js';

test('libnbd shows which rule of the server a request breaks', async () => {
  const server = await startTidemark(`disk=${makeImage(MIB)}`, `archive=${makeImage(MIB)},readonly`);
  // In this mode libnbd sends what the server will refuse. It prints the message of an error as debug output.
  const shell = (exportName: string, request: string) => {
    const lines = [
      'h.set_strict_mode(0)',
      'h.set_debug(True)',
      `h.connect_uri(${JSON.stringify(server.uri(exportName))})`,
      request,
    ];
    return outcomeOf('/usr/bin/python3', '-m', 'nbd', ...lines.flatMap((line) => ['-c', line]));
  };
  const beyond = await shell('disk', `h.pread(512, ${2 * MIB})`);
  expect(beyond.stderr).toContain('the range is not inside the export, which is 1048576 bytes long');
  expect(beyond.stderr).toContain('Invalid argument');
  const odd = await shell('disk', "h.pwrite(b'abc', 1)");
  expect(odd.stderr).toContain('offset and length must be multiples of 512, the minimum block size of the export');
  const write = await shell('archive', 'h.pwrite(bytes(512), 0)');
  expect(write.stderr).toContain('the export is read-only');
  expect(write.stderr).toContain('Operation not permitted');
});
