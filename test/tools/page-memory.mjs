// `npm run page-memory [MINUTES]`: watches the memory of a server under load, and of its page in two browsers, once a
// minute, an hour unless told otherwise. Prints how much each grew per hour over the last three quarters of that time.
// Needs Debian's chromium and fio.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const MINUTE_MILLISECONDS = 60_000;
const minutes = Number(process.argv[2] ?? 60);
const program = resolve(import.meta.dirname, '../../dist/main.js');
const folder = mkdtempSync('/dev/shm/tidemark-page-memory-');
const control = join(folder, 'control.sock');
const socket = join(folder, 'nbd.sock');

const server = spawn(
  process.execPath,
  [
    ...[program, 'serve', '--export', 'vm1=vm1.img,size=512M,bitmap=nightly', '--unix', socket],
    ...['--state', 'state', '--control', control, '--http', '127.0.0.1:0', '--log-level', 'warn'],
  ],
  { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] },
);

/** A link that signs in to the page once, as soon as the server gives one. */
async function link() {
  for (let tries = 0; ; tries++) {
    try {
      return execFileSync(process.execPath, [program, 'page', '--control', control], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim();
    } catch (error) {
      if (tries === 50) throw error;
      await delay(200);
    }
  }
}

/** The memory of the server, in KiB. */
function serverKib() {
  const status = readFileSync(`/proc/${server.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
}

/** Returns a function that tells the size of the page's JavaScript objects in KiB, without garbage. */
async function openPage() {
  const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync'];
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args });
  const page = await browser.newPage();
  await page.goto(await link());
  await page.getByRole('img', { name: /^Map of vm1/ }).waitFor();
  const devTools = await page.context().newCDPSession(page);
  await devTools.send('Performance.enable');
  const heapKib = async () => {
    await devTools.send('HeapProfiler.collectGarbage');
    const { metrics } = await devTools.send('Performance.getMetrics');
    const used = metrics.find(({ name }) => name === 'JSHeapUsedSize');
    return Math.round((used?.value ?? 0) / 1024);
  };
  return { browser, heapKib };
}

/** The slope of the line that fits best, in KiB an hour. @param {number[]} values one each minute */
function growth(values) {
  const meanX = (values.length - 1) / 2;
  const meanY = values.reduce((sum, value) => sum + value, 0) / values.length;
  let [above, below] = [0, 0];
  for (const [x, value] of values.entries()) {
    above += (x - meanX) * (value - meanY);
    below += (x - meanX) ** 2;
  }
  return Math.round((60 * above) / below);
}

try {
  await link();
  const load = spawn(
    'fio',
    [
      ...['--name=load', '--ioengine=nbd', `--uri=nbd+unix:///vm1?socket=${socket}`, '--rw=randrw', '--bs=4k'],
      ...['--iodepth=8', '--size=512M', '--time_based', `--runtime=${60 * minutes + 120}`, '--rate_iops=2500,2500'],
    ],
    { stdio: 'ignore' },
  );
  const pages = [await openPage(), await openPage()];
  /** @type {number[][]} the server, then the pages */
  const series = [[], [], []];
  console.log('minute  server KiB  page 1 KiB  page 2 KiB');
  for (let minute = 0; minute <= minutes; minute++) {
    const values = [serverKib(), ...(await Promise.all(pages.map(({ heapKib }) => heapKib())))];
    values.forEach((value, index) => void series[index]?.push(value));
    console.log([String(minute).padStart(6), ...values.map((value) => String(value).padStart(10))].join('  '));
    if (minute < minutes) await delay(MINUTE_MILLISECONDS);
  }
  const late = series.map((values) => growth(values.slice(Math.floor(values.length / 4))));
  console.log(`growth in KiB an hour: server ${late[0]}, pages ${late[1]} and ${late[2]}`);
  load.kill();
  for (const { browser } of pages) await browser.close();
} finally {
  server.kill();
  await new Promise((done) => server.once('exit', done));
  rmSync(folder, { recursive: true });
}
