import { expect, test } from 'vitest';
import { Random } from '../support/random.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { fuzz } from './fuzz.js';
import { planHandshakes } from './handshake/plan.js';
import { planHttp } from './http/plan.js';
import { seedOf } from './iteration.js';
import { planClient } from './local/client-plan.js';
import { ManifestTarget } from './local/manifest-target.js';
import { Qcow2Target } from './local/qcow2-target.js';
import { MemoryWatch } from './memory-watch.js';
import { parseFuzzOptions } from './options.js';
import { planTls } from './tls/plan.js';
import { planTransmission } from './transmission/plan.js';

const SECONDS = 30;

test('after 30 s of random messages the server is alive, has answered correctly, and has released everything', {
  timeout: 10 * SECONDS * 1000,
}, async () => {
  const options = parseFuzzOptions(['--seconds', `${SECONDS}`]);
  const { messages, after } = await fuzz(options, (line) => console.log(line));
  const targets = ['client', 'handshake', 'http', 'manifests', 'qcow2', 'tls', 'transmission'];
  expect(Object.keys(messages).sort()).toEqual(targets);
  expect(after.connections).toBe(0);
});

test('the same seed gives the same messages, and another seed gives others', async () => {
  const qcow2 = await Qcow2Target.prepare(scratchFolder());
  const manifests = new ManifestTarget(scratchFolder());
  const plans = (seed: number): unknown[] =>
    [planHandshakes, planTls, planTransmission, planHttp, planClient, qcow2.plan.bind(qcow2), manifests.plan].map(
      (plan) => plan(new Random(seedOf(seed, 'target', 7))),
    );
  expect(plans(1)).toEqual(plans(1));
  for (const [index, plan] of plans(1).entries()) expect(plan).not.toEqual(plans(2)[index]);
  await qcow2.close();
});

test('memory use that levels out is not a leak, and memory use that keeps growing is one', () => {
  const watch = (mibAt: (seconds: number) => number) => {
    const memory = new MemoryWatch();
    for (let seconds = 0; seconds <= 600; seconds += 10) memory.add(seconds, mibAt(seconds));
    return memory.findLeak();
  };
  expect(watch((seconds) => 300 - 200 / (1 + seconds))).toBeUndefined();
  expect(watch((seconds) => 100 + seconds / 2)).toMatch(/^memory leaks: /);
  expect(watch(() => 2000)).toBe('the server took 2000 MiB');
});
