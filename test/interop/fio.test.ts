import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { runFio } from '../support/fio.js';
import { makeImage } from '../support/image.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemark } from '../support/tidemark.js';

const CONNECTIONS = 4;
const PART_BYTES = 16 * MIB;

const fourConnections = [
  `--numjobs=${CONNECTIONS}`,
  `--size=${PART_BYTES}`,
  `--offset_increment=${PART_BYTES}`,
  '--iodepth=32',
];
const verified = ['--verify=crc32c', '--verify_state_save=0', '--verify_fatal=1', '--do_verify=1'];

test.each([
  ['small blocks', '--bs=4k'],
  ['blocks of many sizes', '--bssplit=512/10:4k/40:20k/20:64k/20:256k/10'],
])('fio reads back what it wrote at random over four connections, in %s', async (_title, blocks) => {
  const server = await startTidemark(`disk=${makeImage(CONNECTIONS * PART_BYTES)},bitmap=nightly`);

  const jobs = await runFio(server.uri('disk'), '--rw=randwrite', blocks, ...fourConnections, ...verified);

  expect(jobs).toHaveLength(CONNECTIONS);
  for (const { error, read, write } of jobs) {
    expect(error).toBe(0);
    expect(write.io_bytes).toBe(PART_BYTES);
    expect(read.io_bytes).toBe(PART_BYTES);
  }
  expect(await dirtyRanges(server.uri('disk'), 'nightly')).toEqual([{ offset: 0, length: CONNECTIONS * PART_BYTES }]);
});
