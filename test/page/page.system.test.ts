import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Locator, Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { useBrowser } from '../support/browser.js';
import { type PageServer, startPageServer } from '../support/page-server.js';
import { run } from '../support/run.js';

const visit = useBrowser();
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The page after somebody signed in by a link. */
async function signedIn(server: PageServer, options: Parameters<typeof visit>[0] = {}) {
  const seen = await visit(options);
  await seen.page.goto(await server.link());
  await seen.page.getByRole('heading', { name: 'vm1' }).waitFor();
  return seen;
}

/** Run in the browser: the milliseconds to the first paint with content, and the bytes of the page itself. */
const MEASURE = `({
  paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
  bytes: [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter(({ name }) => !name.includes('/v1/'))
    .reduce((sum, { transferSize }) => sum + transferSize, 0),
})`;

const card = (page: Page) => page.getByRole('article', { name: 'Export vm1' });

test('a link signs in once, leaves the address, and the tab stays signed in until somebody signs out', async () => {
  const server = await startPageServer();
  const link = await server.link();
  const { page } = await visit();
  await page.goto(link);
  await page.getByRole('heading', { name: 'vm1' }).waitFor();
  expect(page.url()).toBe(server.url);
  await page.reload();
  await page.getByRole('heading', { name: 'vm1' }).waitFor();

  const other = await visit();
  await other.page.goto(link);
  await other.page.getByRole('alert').waitFor();
  expect(await other.page.getByRole('alert').textContent()).toContain('the sign-in link is not valid');

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token').waitFor();
  await expect.poll(async () => (await server.api.call<{ tokens: unknown[] }>('GET', '/v1/tokens')).tokens).toEqual([]);
});

test('a token signs in, and a wrong one does not', async () => {
  const server = await startPageServer();
  const { token } = await server.api.call<{ token: string }>('POST', '/v1/tokens', { rights: ['read'] });
  const { page } = await visit();
  await page.goto(server.url);
  await page.getByLabel('Token').fill('tm_wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').waitFor();
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await card(page).waitFor();
  // Who only reads does not learn where the disk is.
  expect(await card(page).textContent()).not.toContain('vm1.img');
});

test('under load the page shows the client and its throughput, and a backup until it ends', async () => {
  const server = await startPageServer();
  const { page, complaints } = await signedIn(server);
  const load = run(
    'fio',
    ...['--name=load', '--ioengine=nbd', `--uri=${server.uri('vm1')}`, '--rw=randwrite', '--bs=64k', '--iodepth=4'],
    ...['--size=64M', '--time_based', '--runtime=6', '--rate=8m'],
  );
  await expect
    .poll(async () => (await card(page).textContent()) ?? '')
    .toMatch(/Writing[\d.]+ MiB\/s.*99 % of writeswithin [\d.]+ (µs|ms|s)/s);
  await page.getByRole('table', { name: 'Clients' }).getByRole('cell', { name: 'vm1' }).waitFor();
  const body = { exports: ['vm1'], bitmap: 'nightly' };
  const { id } = await server.api.call<{ id: string }>('POST', '/v1/backups', body);
  const row = page.getByRole('table', { name: 'Backups' }).getByRole('row', { name: id });
  await expect.poll(() => row.textContent()).toMatch(/active, lease ends in .*vm1: full \(.+\)/);
  const progress = [{ export: 'vm1', doneBytes: 32 * 1024, totalBytes: 64 * 1024 }];
  await server.api.call('POST', `/v1/backups/${id}/renew`, { progress });
  await expect.poll(() => row.textContent()).toContain('32 KiB of 64 KiB read (50 %)');
  await server.api.call('POST', `/v1/backups/${id}/commit`);
  await expect.poll(() => row.textContent()).toContain('committed after');
  await page.getByText(/^.*The backup .* of vm1 was committed/).waitFor();
  await load;
  await page.getByText('No client is connected').waitFor();
  expect(complaints).toEqual([]);
});

test('a write appears in the map within two seconds', async () => {
  const server = await startPageServer();
  const { page } = await signedIn(server);
  const map = page.getByRole('img', { name: /^Map of vm1/ });
  await map.waitFor();
  expect(await map.getAttribute('aria-label')).toMatch(
    /: 64 MiB: 0 B \(0 %\) allocated, 0 B \(0 %\) dirty in nightly$/,
  );
  const empty = await pixelOf(map, 0);
  const delays: number[] = [];
  for (const [round, dirty] of ['256 KiB', '512 KiB', '768 KiB'].entries()) {
    await run('qemu-io', '-f', 'raw', '-c', `write -P 7 ${8 * round}M 256k`, server.uri('vm1'));
    const writtenAt = Date.now();
    await expect.poll(() => map.getAttribute('aria-label')).toMatch(new RegExp(`${dirty} \\([\\d.]+ %\\) dirty`));
    delays.push(Date.now() - writtenAt);
  }
  // The other tests on this machine disturb some of the rounds.
  expect(Math.min(...delays)).toBeLessThan(2000);
  expect(await pixelOf(map, 0)).not.toEqual(empty);
  await expect.poll(() => map.getAttribute('aria-label')).toMatch(/768 KiB \(1\.2 %\) allocated/);
});

test('the map is enlarged by buttons, keys and clicks, down to single blocks', async () => {
  const server = await startPageServer();
  const { page } = await signedIn(server);
  const map = page.getByRole('img', { name: /^Map of vm1/ });
  await map.waitFor();
  await page.getByRole('button', { name: 'Zoom in' }).click();
  await page.getByText('16 MiB from 24 MiB on: 0 B (0 %) allocated').waitFor();
  await page.keyboard.press('ArrowLeft');
  await page.getByText('16 MiB from 16 MiB on').waitFor();
  await page.keyboard.press('Home');
  await page.getByText('64 MiB: 0 B').waitFor();
  await map.click({ position: { x: 5, y: 5 } });
  // The pointer is on the map, so the text is about the slice below it.
  await page.getByText(/^32 KiB from .* on: 0 B allocated, 0 B dirty/).waitFor();
  for (let i = 0; i < 3; i++) await page.getByRole('button', { name: 'Zoom in' }).click();
  await page.getByText(/^256 KiB from /).waitFor();
  await map.hover({ position: { x: 5, y: 5 } });
  await page.getByText(/^4 KiB from .* on: 0 B allocated, 0 B dirty/).waitFor();
});

test('what needs attention comes first', async () => {
  const server = await startPageServer();
  const { page } = await signedIn(server);
  await page.getByText('Nothing.').waitFor();
  const { id } = await server.api.call<{ id: string }>('POST', '/v1/backups', {
    exports: ['vm1'],
    bitmap: 'nightly',
    ttlSeconds: 1,
  });
  const found = page.locator('main > section').first().getByRole('listitem');
  await expect.poll(() => found.allTextContents()).toEqual([expect.stringContaining(`${id}, was aborted: `)]);
});

/** The colour in the middle of a cell of a map, as red, green, blue and alpha. */
function pixelOf(map: Locator, cell: number): Promise<number[]> {
  return map.evaluate(
    (canvas, x) => {
      const pen = (canvas as unknown as { getContext(kind: '2d'): Pen }).getContext('2d');
      return [...pen.getImageData(x, 5, 1, 1).data];
    },
    12 * cell + 5,
  );
}

/** What the test needs of a canvas's context: tests are checked without the types of browsers. */
interface Pen {
  getImageData(x: number, y: number, width: number, height: number): { readonly data: Uint8ClampedArray };
}

test('when the server is gone, the page says so, and comes back with it', async () => {
  const server = await startPageServer();
  const { page } = await signedIn(server);
  await server.stop();
  await page.getByRole('alert').waitFor();
  expect(await page.getByRole('alert').textContent()).toContain('the server does not answer');
  await server.restart();
  await page.getByRole('alert').waitFor({ state: 'detached' });
  expect(await card(page).isVisible()).toBe(true);
});

test('the page is small, paints at once, and asks nobody but its server', async () => {
  const server = await startPageServer();
  const paints: number[] = [];
  for (let round = 0; round < 3; round++) {
    const { page, requests, complaints } = await signedIn(server);
    const { paint, bytes } = await page.evaluate<{ paint: number; bytes: number }>(MEASURE);
    paints.push(paint);
    expect(bytes).toBeGreaterThan(5000);
    expect(bytes).toBeLessThan(200_000);
    expect(requests.filter((url) => !url.startsWith(server.url))).toEqual([]);
    expect(complaints).toEqual([]);
  }
  // The other tests on this machine disturb some of the rounds.
  expect(Math.min(...paints)).toBeLessThan(300);
});

test.each([
  ['light', 1200],
  ['dark', 1200],
  ['light', 400],
  ['dark', 400],
] as const)(
  'in %s and %d pixels wide, axe finds no fault, and nothing scrolls sideways',
  async (colorScheme, width) => {
    const server = await startPageServer();
    await server.api.call('POST', '/v1/backups', { exports: ['vm1'], bitmap: 'nightly' });
    // The policy of the page would keep axe out.
    const options = { colorScheme, viewport: { width, height: 800 }, bypassCSP: true };
    const { page } = await signedIn(server, options);
    await page.getByRole('table', { name: 'Backups' }).waitFor();
    await expectAccessible(page);
    expect(await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Token').waitFor();
    await expectAccessible(page);
  },
);

async function expectAccessible(page: Page): Promise<void> {
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate<AxeResults>('axe.run()');
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)).toEqual([]);
}
