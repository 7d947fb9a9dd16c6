import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Right, rights } from '../../../src/api/values.js';
import type { Random } from '../../support/random.js';
import { cutPoints, mutate } from '../odd-values.js';
import { type Names, type Schema, sample } from './sample.js';

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
}

interface Route {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

export interface PlannedHttpRequest {
  readonly line: string;
  readonly headers: readonly string[];
  readonly body: Buffer;
}

export interface HttpPlan {
  /** Who sends them: the control socket, or a token with this right on `visibleDisk` alone. */
  readonly sender: 'operator' | Right;
  /** Entire requests on one connection, sent together. */
  readonly requests: readonly PlannedHttpRequest[];
  readonly cuts: readonly number[];
  /** Changed bytes at the end. The server may do anything with them, as long as it survives. */
  readonly broken: Buffer | undefined;
}

/** Stands for the ID of the backup that was begun last. */
const LAST_BACKUP = 'LAST-BACKUP-ID';
/** The only disk that a token may use, and one that does not exist for it. */
export const visibleDisk = 'http-a';
export const hiddenDisk = 'http-b';
export const httpDisks = [visibleDisk, hiddenDisk] as const;

const document = JSON.parse(readFileSync(resolve(process.cwd(), 'docs/openapi.json'), 'utf8'));
const routes: readonly Route[] = Object.entries<Record<string, Operation>>(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
);
const exportNames = [
  ...httpDisks,
  ...httpDisks,
  ...httpDisks,
  'http-c',
  'none',
  '',
  'a/b',
  '..',
  'ünï',
  'z'.repeat(300),
];
const bitmapNames = ['nightly', 'nightly', 'weekly', 'none', '', '\u009b2J', 'ünï', 'z'.repeat(1100)];
const names: Names = {
  '': ['x', 'nightly', 'http-a'],
  name: ['http-a', 'http-c', 'nightly', 'weekly', '', 'ünï', 'z'.repeat(5000)],
  export: exportNames,
  exports: exportNames,
  bitmap: bitmapNames,
  bitmaps: bitmapNames,
  sources: bitmapNames,
  backup: [LAST_BACKUP, LAST_BACKUP, 'none', '..', ''],
  since: [LAST_BACKUP, 'none'],
  // No client has one of these IDs, because the connected clients belong to other targets.
  client: ['0', '-1', '4294967295', 'x', ''],
  // None of these leads out of the folder in which the server works.
  path: ['http-a.img', 'http-c.img', 'none/none.img', '.', 'http-c.img', 'n'.repeat(300)],
};
const METHODS = ['GET', 'POST', 'DELETE', 'PUT', 'PATCH', 'HEAD', 'OPTIONS'];
const TYPES = ['application/json', 'application/json', 'text/plain', 'application/x-www-form-urlencoded', 'x', ''];
const MAX_REQUESTS = 12;
/** Its answer never ends. */
const EVENTS = '/v1/events';
const answering = routes.filter(({ path }) => path !== EVENTS);

export function planHttp(random: Random): HttpPlan {
  const requests = Array.from({ length: 1 + random.below(MAX_REQUESTS) }, () => planRequest(random, answering));
  const bytes = requests.reduce((sum, request) => sum + encodeHttp(request).length, 0);
  const broken = random.chance(6) ? mutate(random, encodeHttp(planRequest(random, routes))) : undefined;
  const sender = random.chance(2) ? 'operator' : random.pick(rights);
  return { sender, requests, cuts: cutPoints(random, bytes), broken };
}

/** Replaces the placeholder by `backup`. */
export function encodeHttp({ line, headers, body }: PlannedHttpRequest, backup = LAST_BACKUP, token?: string): Buffer {
  const filled = Buffer.from(body.toString('latin1').replaceAll(LAST_BACKUP, backup), 'latin1');
  const lines = [line.replaceAll(LAST_BACKUP, backup), 'host: localhost', ...headers];
  if (token !== undefined) lines.push(`authorization: Bearer ${token}`);
  if (filled.length > 0 || headers.length > 0) lines.push(`content-length: ${filled.length}`);
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), filled]);
}

function planRequest(random: Random, among: readonly Route[]): PlannedHttpRequest {
  const { method, path, operation } = random.pick(among);
  const target = path.replace(/\{(\w+)\}/g, (_, key: string) =>
    encodeURIComponent(random.pick(names[key] ?? names['']!)),
  );
  const query = (operation.parameters ?? [])
    .filter((parameter) => parameter.in === 'query' && random.chance(2))
    .map(({ name, schema }) => `${name}=${encodeURIComponent(textOf(sample(random, schema, names, name)))}`);
  const schema = operation.requestBody?.content['application/json']?.schema;
  const hasBody = schema ? !random.chance(30) : random.chance(30);
  const value = schema ? sample(random, schema, names) : {};
  const text = hasBody ? (JSON.stringify(value) ?? '') : '';
  const body = random.chance(30) ? mutate(random, Buffer.from(text)) : Buffer.from(text);
  // The answer to HEAD lacks the body that its headers announce.
  const used = random.chance(30) ? random.pick(METHODS.filter((name) => name !== 'HEAD')) : method;
  const type = random.chance(20) ? random.pick(TYPES) : 'application/json';
  return {
    line: `${used} ${target}${query.length > 0 ? `?${query.join('&')}` : ''} HTTP/1.1`,
    headers: hasBody ? [`content-type: ${type}`] : [],
    body,
  };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}
