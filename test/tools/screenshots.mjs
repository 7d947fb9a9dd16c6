// `npm run screenshots`: takes the pictures of the page in docs/images, of a server under load. Needs Debian's chromium,
// fio and qemu-utils.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const root = resolve(import.meta.dirname, '../..');
const program = join(root, 'dist/main.js');
const images = join(root, 'docs/images');
const folder = mkdtempSync(join(tmpdir(), 'tidemark-screenshots-'));
const control = join(folder, 'control.sock');
const socket = join(folder, 'nbd.sock');

/** @param {string[]} args */
const tidemark = (...args) =>
  execFileSync(process.execPath, [program, ...args, '--control', control], { encoding: 'utf8' });
/** @param {string} name */
const uri = (name) => `nbd+unix:///${name}?socket=${socket}`;

function startServer() {
  const disks = ['web=web.img,size=2G,bitmap=nightly', 'mail=mail.img,size=8G,bitmap=nightly'];
  const args = [
    ...disks.flatMap((spec) => ['--export', spec]),
    ...['--unix', socket, '--state', 'state', '--control', control, '--http', '127.0.0.1:0'],
  ];
  return spawn(process.execPath, [program, 'serve', ...args], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
}

async function untilUp() {
  for (let tries = 0; ; tries++) {
    try {
      return tidemark('page').trim();
    } catch (error) {
      if (tries === 100) throw error;
      await delay(100);
    }
  }
}

/** Some days in the life of two disks. */
function makeHistory() {
  for (const at of ['3M 40M', '200M 90M', '700M 3M', '1200M 200M']) {
    execFileSync('qemu-io', ['-f', 'raw', '-c', `write -P 7 ${at}`, uri('web')]);
    execFileSync('qemu-io', ['-f', 'raw', '-c', `write -P 7 ${at}`, uri('mail')]);
  }
  const begin = () => JSON.parse(tidemark('backup', 'begin', 'web', '--bitmap', 'nightly', '--json')).id;
  tidemark('backup', 'commit', begin());
  tidemark('backup', 'abort', begin());
  execFileSync('qemu-io', ['-f', 'raw', '-c', 'write -P 8 210M 30M', uri('web')]);
  begin();
}

/**
 * @param {import('playwright-core').Browser} browser
 * @param {string} link
 * @param {string} file
 * @param {import('playwright-core').BrowserContextOptions} options
 */
async function picture(browser, link, file, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await page.goto(link);
  await page.getByRole('img', { name: /^Map of web/ }).waitFor();
  await delay(25_000);
  await page.screenshot({ path: join(images, file) });
  await context.close();
}

const server = startServer();
try {
  await untilUp();
  makeHistory();
  const load = spawn(
    'fio',
    [
      ...['--name=load', '--ioengine=nbd', `--uri=${uri('web')}`, '--rw=randrw', '--bs=32k', '--size=2G'],
      ...['--time_based', '--runtime=120', '--rate=5m,2m', '--output-format=terse'],
    ],
    { stdio: 'ignore' },
  );
  const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync'];
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args });
  mkdirSync(images, { recursive: true });
  const wide = { width: 1100, height: 1150 };
  await picture(browser, tidemark('page').trim(), 'page-light.png', { viewport: wide, colorScheme: 'light' });
  await picture(browser, tidemark('page').trim(), 'page-dark.png', { viewport: wide, colorScheme: 'dark' });
  const narrow = { width: 400, height: 1150 };
  await picture(browser, tidemark('page').trim(), 'page-narrow.png', { viewport: narrow, colorScheme: 'light' });
  await browser.close();
  load.kill();
} finally {
  server.kill();
  await new Promise((done) => server.once('exit', done));
  rmSync(folder, { recursive: true });
}
