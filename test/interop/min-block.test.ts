import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { makeImage } from '../support/image.js';
import { outcomeOf, run } from '../support/run.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemark } from '../support/tidemark.js';

async function serve(minBlock: number): Promise<string> {
  const server = await startTidemark(`disk=${makeImage(MIB)},min-block=${minBlock},bitmap=fine:512`);
  return server.uri('disk');
}

/** libnbd's shell. libnbd itself refuses requests that the block sizes do not allow. */
const nbdsh = (uri: string, ...lines: string[]) => {
  const strict = 'h.set_strict_mode(h.get_strict_mode() | nbd.STRICT_ALIGN)';
  const commands = [strict, ...lines].flatMap((line) => ['-c', line]);
  return outcomeOf('/usr/bin/python3', '-m', 'nbd', '--uri', uri, ...commands);
};

test('with min-block=1 libnbd reads, writes and zeroes any bytes', async () => {
  const uri = await serve(1);
  const { code, stdout, stderr } = await nbdsh(
    uri,
    "h.pwrite(b'abcdef', 1021)",
    'h.zero(2, 1023)',
    'h.trim(3, 100001)',
    "print(bytes(h.pread(8, 1020)).decode().replace(chr(0), '.'))",
  );
  expect([code, stdout.trim(), stderr]).toEqual([0, '.ab..ef.', '']);
  expect(await dirtyRanges(uri, 'fine')).toEqual([
    { offset: 512, length: 1024 },
    { offset: 99_840, length: 512 },
  ]);
  expect(await run('nbddump', '--length=1025', uri)).toContain(
    '00000003f0: 00 00 00 00 00 00 00 00  00 00 00 00 00 61',
  );
});

test('with the default of 512 libnbd itself refuses odd ranges, and nbddump refuses odd lengths', async () => {
  const uri = await serve(512);
  expect((await nbdsh(uri, 'h.pread(3, 511)')).stderr).toContain('request is unaligned');
  expect((await outcomeOf('nbddump', '--length=65', uri)).stderr).toContain('request is unaligned');
});

test('with min-block=4096 QEMU and libnbd read and write whole blocks', async () => {
  const uri = await serve(4096);
  await run('qemu-io', '-f', 'raw', '-c', 'write -P 7 4k 8k', '-c', 'read -P 7 4k 8k', '-c', 'write -P 8 1 510', uri);
  expect((await nbdsh(uri, 'h.pread(512, 0)')).stderr).toContain('request is unaligned');
  // QEMU extends its writes to whole blocks.
  expect(await dirtyRanges(uri, 'fine')).toEqual([{ offset: 0, length: 12_288 }]);
});
