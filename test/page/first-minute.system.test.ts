import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { useBrowser } from '../support/browser.js';
import { freePort } from '../support/free-port.js';
import { startPeer } from '../support/peer.js';
import { run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';

const visit = useBrowser();
const script = resolve(import.meta.dirname, '../tools/start-demo.mjs');

test('from the start of the demo to a write in the map, with what it prints', async () => {
  const [folder, nbdPort, httpPort] = [scratchFolder(), await freePort(), await freePort()];
  const args = [script, folder, String(nbdPort), String(httpPort)];
  const demo = await startPeer(process.execPath, args, { host: '127.0.0.1', port: httpPort });
  await expect.poll(demo.output).toMatch(/#sign-in=\S+$/m);
  const [link] = /http:\S+#sign-in=\S+/.exec(demo.output())!;
  const { page } = await visit();
  await page.goto(link);
  const map = page.getByRole('img', { name: /^Map of demo/ });
  await map.waitFor();
  await run('qemu-io', '-f', 'raw', '-c', 'write -P 7 1M 256k', `nbd://localhost:${nbdPort}/demo`);
  await expect.poll(() => map.getAttribute('aria-label')).toMatch(/256 KiB \([^)]*\) dirty in nightly/);
});
