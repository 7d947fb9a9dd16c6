import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { processorMicroseconds, ticksOf, withDescendants } from '../../bench/processor-time.js';

const SCRIPT = `
  const { spawnSync } = require('node:child_process');
  const work = () => { while (process.cpuUsage().user < 100_000); };
  if (process.argv[1] === 'child') { work(); console.log(JSON.stringify(process.cpuUsage())); process.exit(); }
  const { stdout } = spawnSync(process.execPath, ['-e', process.env.SCRIPT, 'child'], { encoding: 'utf8' });
  work();
  console.log(JSON.stringify([process.cpuUsage(), JSON.parse(stdout)]));
  process.stdin.resume();
`;

test('the time of a process includes that of a child that has ended', async () => {
  const parent = spawn(process.execPath, ['-e', SCRIPT, 'parent'], {
    env: { ...process.env, SCRIPT: SCRIPT },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string];
  const used = (JSON.parse(line) as NodeJS.CpuUsage[]).reduce((sum, { user, system }) => sum + user + system, 0);
  const measured = await processorMicroseconds([parent.pid!]);
  // Both go on for a moment after they have told theirs, and times are counted in pieces of 10 ms.
  expect(measured).toBeGreaterThan(used - 40_000);
  expect(measured).toBeLessThan(used + 300_000);
  parent.stdin.end();
  await once(parent, 'exit');
});

test('descendants are found, and a process that is gone has none', async () => {
  const shell = spawn('sh', ['-c', 'sleep 60 & echo $!; wait'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface(shell.stdout), 'line')) as [string];
  expect(withDescendants([shell.pid!])).toEqual([shell.pid, Number(line)]);
  process.kill(Number(line));
  await once(shell, 'exit');
  expect(withDescendants([shell.pid!])).toEqual([shell.pid]);
});

test('a name may contain spaces and brackets', () => {
  const fields = Array.from({ length: 50 }, (_, index) => index + 1);
  expect(ticksOf(`1 (a) b (c) ${['S', ...fields.slice(3)].join(' ')}`)).toBe(14 + 15 + 16 + 17);
});
