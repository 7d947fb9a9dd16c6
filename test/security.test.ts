import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { GIB, KIB, MIB } from '../src/base/units.js';
import { resolveConfig } from '../src/server/config.js';
import { controlApiOver } from './support/control-api.js';
import { memoryRegistry } from './support/memory-server.js';
import { scratchFolder } from './support/scratch-folder.js';
import { startTidemarkIn } from './support/tidemark.js';

const source = (path: string) => readFileSync(resolve(import.meta.dirname, '..', path), 'utf8');
const rows = [...source('docs/security.md').matchAll(/^\| (.+?) \| (\S+(?: \S+)?) \| (`.+) \|$/gm)].map((match) => ({
  what: match[1]!,
  limit: match[2]!,
  where: match[3]!,
}));

/** The default of each setting that is named in a row. */
const { limits, persistence, cutTimeoutSeconds, stopTimeoutSeconds } = resolveConfig();
const settingDefaults: Readonly<Record<string, number>> = {
  'max-connections': limits.maxConnections,
  'handshake-timeout': limits.handshakeTimeoutSeconds,
  'memory-budget': limits.memoryBudgetBytes,
  'cut-timeout': cutTimeoutSeconds,
  'stop-timeout': stopTimeoutSeconds,
  'max-active-regions': persistence.maxActiveRegions,
};

const units: Readonly<Record<string, number>> = { B: 1, KiB: KIB, MiB: MIB, GiB: GIB, s: 1000, ms: 1 };

/** A limit as a number of bytes or milliseconds, or as a count. */
function amountOf(limit: string): number {
  const [number, unit] = limit.split(' ');
  const [part, whole = '1'] = number!.split('/');
  return (Number(part) / Number(whole)) * (unit === undefined ? 1 : units[unit]!);
}

const sizes: Readonly<Record<string, number>> = { KIB, MIB, GIB };

/** The value of a constant or property in a file of src/, made of numbers, sizes and other constants. */
function constantIn(file: string, name: string): number {
  const found = new RegExp(`\\b${name}(?: =|:) ([A-Z\\d][\\w */+]*)[;,]`).exec(source(`src/${file}`));
  if (!found) throw new Error(`src/${file} has no number ${name}`);
  const factorOf = (text: string) => {
    if (text in sizes) return sizes[text]!;
    return /^\d/.test(text) ? Number(text.replaceAll('_', '')) : constantIn(file, text);
  };
  const productOf = (text: string) => {
    const [first, ...rest] = text.split(/ (?=[*/] )/);
    return rest.reduce((value, next) => {
      const factor = factorOf(next.slice(2));
      return next.startsWith('*') ? value * factor : value / factor;
    }, factorOf(first!));
  };
  return found[1]!.split(' + ').reduce((sum, term) => sum + productOf(term), 0);
}

const isTime = (limit: string) => / m?s$/.test(limit);

test('the table of limits is not empty', () => {
  expect(rows.length).toBeGreaterThan(30);
});

test.each(rows)('the limit "$what" is the one in the code', ({ limit, where }) => {
  const [, name, file] = /^`([\w-]+)`(?: in (\S+))?$/.exec(where) ?? [];
  const inSeconds = file === undefined ? isTime(limit) : name!.endsWith('SECONDS') && !name!.endsWith('MILLISECONDS');
  const actual = file === undefined ? settingDefaults[name!] : constantIn(file, name!);
  expect(actual! * (inSeconds ? 1000 : 1)).toBe(amountOf(limit));
});

test('only its own user can access what a server creates for itself, whatever the umask', async () => {
  const folder = scratchFolder();
  const umask = process.umask(0);
  const started = startTidemarkIn(folder, [], ['--http', '127.0.0.1:0']).finally(() => process.umask(umask));
  await started;
  const modes = ['state', 'state/http-token', 'control.sock', 'nbd.sock'].map((name) => {
    return `${name} ${(statSync(join(folder, name)).mode & 0o777).toString(8)}`;
  });
  expect(modes).toEqual(['state 700', 'state/http-token 600', 'control.sock 600', 'nbd.sock 600']);
});

test('the body of a request to the control API is at most 1 MiB long', async () => {
  const { ask } = await controlApiOver(await memoryRegistry([]));
  const bodyOf = (bytes: number) => ({ name: 'x'.repeat(bytes - Buffer.byteLength('{"name":""}')) });
  expect((await ask('POST', '/v1/exports', bodyOf(MIB))).text).toContain('path');
  expect((await ask('POST', '/v1/exports', bodyOf(MIB + 1))).text).toContain('too large');
});

test('a transaction has at most 1000 actions, a backup at most 256 exports', async () => {
  const { ask } = await controlApiOver(await memoryRegistry([]));
  const action = { type: 'bitmap-clear', export: 'none', bitmap: 'none' };
  const codeOf = async (url: string, body: object) => {
    return ((await ask('POST', url, body)).document as { code: string }).code;
  };
  expect(await codeOf('/v1/transactions', { actions: Array(1000).fill(action) })).toBe('EXPORT_NOT_FOUND');
  expect(await codeOf('/v1/transactions', { actions: Array(1001).fill(action) })).toBe('BAD_REQUEST');
  const names = Array.from({ length: 257 }, (_, i) => `disk${i}`);
  const begin = (exports: string[]) => codeOf('/v1/backups', { exports, bitmap: 'nightly' });
  expect(await begin(names.slice(1))).toBe('EXPORT_NOT_FOUND');
  expect(await begin(names)).toBe('BAD_REQUEST');
});
