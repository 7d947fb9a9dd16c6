import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { makeImage } from '../support/image.js';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { startTidemark, tidemarkProgram } from '../support/tidemark.js';

const write = (byte: number) => ['-f', 'raw', '-c', `write -P ${byte} 0 4k`];
const read = (byte: number) => ['-f', 'raw', '-c', `read -P ${byte} 0 4k`];

function serve(...options: string[]) {
  const folder = scratchFolder();
  const places = ['--unix', `${folder}/nbd.sock`, '--state', `${folder}/state`, '--control', `${folder}/control.sock`];
  return outcomeOf(process.execPath, tidemarkProgram, 'serve', ...places, ...options);
}

/** Holds the image open for writing, as a virtual machine does, until the test is over. */
async function holdByQemu(image: string): Promise<void> {
  const holder = spawn('qemu-io', ['-f', 'raw', image], { stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = once(holder, 'exit');
  onTestFinished(async () => {
    holder.kill();
    await gone;
  });
  holder.stdin.write('write -P 7 0 4k\n');
  await once(holder.stdout, 'data');
}

test('QEMU refuses an image while tidemark serves it, and accepts it afterwards', async () => {
  const image = makeImage(MIB);
  const server = await startTidemark(`disk=${image}`);
  await run('qemu-io', ...write(7), server.uri('disk'));

  for (const refused of [
    await outcomeOf('qemu-io', ...write(9), image),
    await outcomeOf('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', image, `${image}.copy`),
    await outcomeOf('qemu-img', 'resize', '-f', 'raw', image, '2M'),
  ]) {
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('Failed to get');
  }

  expect(await server.stop()).toBe(0);
  expect(await run('qemu-io', ...read(7), ...write(9), image)).not.toContain('failed');
});

test('tidemark refuses an image that QEMU has open, and says what to do', async () => {
  const image = makeImage(MIB);
  await holdByQemu(image);
  const refused = await serve('--export', `disk=${image}`);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain(`tidemark: another process is using the image ${image} (`);
});

test('a second tidemark refuses an image that the first serves', async () => {
  const image = makeImage(MIB);
  const first = await startTidemark(`disk=${image}`);
  expect(await serve('--export', `disk=${image}`)).toMatchObject({ code: 1 });
  await run('qemu-io', ...write(7), ...read(7), first.uri('disk'));
});
