import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, onTestFinished } from 'vitest';

/** Debian's, which test/tools/ensure-debian-tools.mjs installs. */
const PROGRAM = '/usr/bin/chromium';
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export interface Visit {
  readonly page: Page;
  readonly context: BrowserContext;
  /** The URLs of all requests so far. */
  readonly requests: readonly string[];
  /** What the browser complained about: errors of scripts, and violations of the Content-Security-Policy. */
  readonly complaints: readonly string[];
}

/** One browser for the tests of a file. Each visit has its own cookies and storage, and ends with its test. */
export function useBrowser(): (options?: BrowserContextOptions) => Promise<Visit> {
  let open: Promise<BrowserHandle> | undefined;
  beforeAll(async () => {
    open = launch();
    await open;
  });
  afterAll(async () => (await open)?.close());
  return async (options = {}) => {
    const context = await (await open!).newContext(options);
    onTestFinished(() => context.close());
    const page = await context.newPage();
    const [requests, complaints]: [string[], string[]] = [[], []];
    page.on('request', (request) => requests.push(request.url()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => {
      if (/content security policy/i.test(message.text())) complaints.push(message.text());
    });
    return { page, context, requests, complaints };
  };
}

interface BrowserHandle {
  newContext(options: BrowserContextOptions): Promise<BrowserContext>;
  close(): Promise<void>;
}

async function launch(): Promise<BrowserHandle> {
  const home = mkdtempSync(join(tmpdir(), 'tidemark-browser-'));
  // Whatever the browser keeps goes there, and not into the user's own folders.
  const env = { PATH: process.env.PATH!, HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home };
  const browser = await chromium.launch({ executablePath: PROGRAM, args: ARGUMENTS, env });
  return {
    newContext: (options) => browser.newContext(options),
    async close() {
      await browser.close();
      rmSync(home, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
