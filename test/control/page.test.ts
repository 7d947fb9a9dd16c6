import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { buildControlApi } from '../../src/control/control-api.js';
import { loadPage } from '../../src/control/page-files.js';
import { controlHostOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';
import { startPageServer } from '../support/page-server.js';
import { scratchFolder } from '../support/scratch-folder.js';

test('the page is served to anybody, with a strict policy, and its files for ever', async () => {
  const { url } = await startPageServer();
  const page = await fetch(url);
  expect(page.status).toBe(200);
  const policy = page.headers.get('content-security-policy')!.split('; ');
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("script-src 'self'");
  expect(policy.join()).not.toContain('unsafe');
  expect(page.headers.get('cache-control')).toBe('no-cache');
  expect(page.headers.get('x-content-type-options')).toBe('nosniff');
  const [, script] = /src="\.\/(assets\/[^"]+\.js)"/.exec(await page.text())!;
  const file = await fetch(url + script, { headers: { 'accept-encoding': 'gzip' } });
  expect(file.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
  expect(file.headers.get('content-encoding')).toBe('gzip');
  expect(file.headers.get('cache-control')).toContain('immutable');
  const plain = await fetch(url + script, { headers: { 'accept-encoding': 'identity' } });
  expect(plain.headers.get('content-encoding')).toBe(null);
  expect(await plain.text()).toBe(await file.text());
  for (const other of ['assets/no.js', 'assets/..%2findex.html']) {
    expect((await fetch(url + other)).status, other).toBe(404);
  }
});

test('a page of another site gets nothing, by its own name or as an origin', async () => {
  const { url } = await startPageServer();
  expect((await fetch(url, { headers: { origin: 'http://evil.example' } })).status).toBe(403);
});

test('where only health and metrics are served, there is no page', async () => {
  const api = await buildControlApi(await controlHostOver(await memoryRegistry([])), { metricsOnly: true });
  onTestFinished(() => api.close());
  expect((await api.inject({ url: '/' })).statusCode).toBe(404);
});

test('files are loaded with their types, and compressed', async () => {
  const folder = scratchFolder();
  mkdirSync(join(folder, 'assets'));
  writeFileSync(join(folder, 'index.html'), '<p>');
  writeFileSync(join(folder, 'assets/a.css'), 'p {}');
  const { document, assets } = (await loadPage(folder))!;
  expect(document.mediaType).toBe('text/html; charset=utf-8');
  expect([...assets.keys()]).toEqual(['a.css']);
  expect(gunzipSync(assets.get('a.css')!.gzipped).toString()).toBe('p {}');
});

test('a folder without a page is no error', async () => {
  expect(await loadPage(scratchFolder())).toBeUndefined();
});

test('the build has every type of file that the page serves', async () => {
  const { assets } = (await loadPage(resolve(import.meta.dirname, '../../dist/page')))!;
  expect([...assets.values()].map(({ mediaType }) => mediaType)).not.toContain('application/octet-stream');
});
