import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { controlApiOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';

const file = resolve(import.meta.dirname, '../../docs/openapi.json');

interface Described {
  readonly paths: Record<string, Record<string, { operationId?: string; summary?: string; responses: object }>>;
}

async function describeApi(): Promise<Described> {
  const { ask } = await controlApiOver(await memoryRegistry([{ name: 'disk' }]));
  return (await ask('GET', '/openapi.json')).document as Described;
}

test('docs/openapi.json is the document that the server serves', async () => {
  const committed: unknown = JSON.parse(readFileSync(file, 'utf8'));
  expect(committed, 'renew it with `npm run openapi`, and read the difference').toEqual(await describeApi());
});

test('every operation has a unique name, a summary and an error answer', async () => {
  const { paths } = await describeApi();
  const operations = Object.values(paths).flatMap((path) => Object.values(path));
  const names = operations.map(({ operationId }) => operationId);
  expect(names).not.toContain(undefined);
  expect(new Set(names).size).toBe(names.length);
  for (const { summary, responses } of operations) {
    expect(summary).toBeTruthy();
    expect(responses).toHaveProperty(['default', 'content', 'application/problem+json']);
  }
});
