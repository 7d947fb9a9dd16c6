import { expect, test } from 'vitest';
import { KeptExports } from '../../src/export/kept-exports.js';
import { controlApiOf, controlHostOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';

/** An API whose list of kept exports is saved only when the test says so, and what each save had. */
async function serve() {
  const registry = await memoryRegistry([{ name: 'disk' }]);
  const served = registry.get('disk');
  const saves: { readonly names: readonly string[]; readonly end: (error?: Error) => void }[] = [];
  const kept = new KeptExports(
    [{ spec: { name: 'disk', path: '/memory' }, addedAt: '2026-11-28T12:00:00.000Z', by: 'operator' }],
    (next) =>
      new Promise((resolve, reject) => {
        const end = (error?: Error) => (error ? reject(error) : resolve());
        saves.push({ names: next.map(({ spec }) => spec.name), end });
      }),
  );
  const api = await controlApiOf({ ...(await controlHostOver(registry)), kept });
  const nextSave = async (count: number) => {
    await expect.poll(() => saves.length).toBe(count);
    return saves.at(-1)!;
  };
  return { ...api, registry, served, kept, nextSave };
}

test('a removal lets nobody in, takes the export off the list, and closes it afterwards', async () => {
  const { ask, registry, served, kept, nextSave } = await serve();
  const removed = ask('DELETE', '/v1/exports/disk');
  const save = await nextSave(1);
  expect(save.names).toEqual([]);
  expect([registry.list(), served.closing, served.admits]).toEqual([[served], false, false]);
  save.end();
  expect(await removed).toMatchObject({ status: 204 });
  expect([registry.list(), kept.list()]).toEqual([[], []]);
});

test('an export whose removal cannot be noted goes on, and lets clients in again', async () => {
  const { ask, registry, served, kept, nextSave } = await serve();
  const removed = ask('DELETE', '/v1/exports/disk');
  (await nextSave(1)).end(new Error('the disk is full'));
  expect((await removed).status).toBe(500);
  expect([registry.list(), served.closing, served.admits]).toEqual([[served], false, true]);
  expect(kept.list()).toHaveLength(1);
});

test('an export is on the list before anybody can find it, and is closed if it cannot be noted', async () => {
  const { ask, registry, nextSave } = await serve();
  const removed = ask('DELETE', '/v1/exports/disk');
  (await nextSave(1)).end();
  await removed;
  const add = () => ask('POST', '/v1/exports', { name: 'disk', path: 'memory' });
  const failing = add();
  const save = await nextSave(2);
  expect(save.names).toEqual(['disk']);
  expect(registry.list()).toEqual([]);
  save.end(new Error('the disk is full'));
  expect((await failing).status).toBe(500);
  const added = add();
  (await nextSave(3)).end();
  expect(await added).toMatchObject({ status: 201, document: { origin: 'kept' } });
});

test('a temporary export is not on the list', async () => {
  const { ask, registry, nextSave } = await serve();
  const removed = ask('DELETE', '/v1/exports/disk');
  (await nextSave(1)).end();
  await removed;
  const added = await ask('POST', '/v1/exports', { name: 'disk', path: 'memory', temporary: true });
  expect(added).toMatchObject({ status: 201, document: { origin: 'temporary' } });
  expect(registry.list()).toHaveLength(1);
});
