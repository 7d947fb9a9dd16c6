import { expect, onTestFinished, test } from 'vitest';
import { Policy } from '../../src/access/access.js';
import type { Identity } from '../../src/access/identity.js';
import type { ServerStatistics } from '../../src/api/statistics.js';
import { buildControlApi } from '../../src/control/control-api.js';
import { View } from '../../src/export/view.js';
import { rulesOf } from '../support/access-rules.js';
import { controlHostOver } from '../support/control-api.js';
import { idleClient } from '../support/idle-client.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, memoryRegistry } from '../support/memory-server.js';

const caller: Identity = {
  over: 'http',
  from: { kind: 'tcp', address: '10.0.0.7' },
  encrypted: true,
  certificate: { dn: 'CN=a', commonName: 'a', names: [], serial: '01' },
};

/** Exports, and a view of the first, each with a client that has read 512 bytes; and the API as `rules` show it. */
async function serve(names: readonly string[], ...rules: string[]) {
  const exports = await memoryRegistry(names.map((name) => ({ name })));
  const exported = exports.list()[0]!;
  const { minBlockBytes } = exported;
  const device = new MemoryDevice(DISK_BYTES);
  exports.addView(new View({ name: `${names[0]}@b1`, exported, description: '', minBlockBytes, device, contexts: [] }));
  exports.listServed().forEach((served, index) => {
    served.attach(idleClient({ id: index + 1, bytesRead: 512, requests: 1, tls: 'TLSv1.3' }));
  });
  const host = { ...(await controlHostOver(exports)), policy: new Policy(rulesOf(...rules)) };
  const api = await buildControlApi(host, { authenticate: () => caller });
  onTestFinished(() => api.close());
  const ask = async (query = '') => {
    const { statusCode, body } = await api.inject({ method: 'GET', url: `/v1/statistics${query}` });
    return { status: statusCode, document: JSON.parse(body) as ServerStatistics };
  };
  return { exports, api, ask };
}

const namesIn = ({ exports, views, clients }: ServerStatistics) => ({
  exports: exports.map(({ name }) => name),
  views: views.map(({ name }) => name),
  clients: clients.map((client) => client.export),
});

test('has what clients did with each export and view, and what each client did', async () => {
  const { ask } = await serve(['disk'], 'any,rights=admin');
  const { status, document } = await ask();
  const latency = { boundsSeconds: expect.any(Array), counts: Array(15).fill(0) };
  const read = { operations: 1, bytes: 512, failed: 0, invalid: 0, seconds: 0, latency };
  const done = { commands: { read }, inFlight: 0, highestOffset: 0, idleSeconds: null };
  const client = { client: 'unix', tls: 'TLSv1.3', ...done };
  expect([status, document]).toEqual([
    200,
    {
      at: expect.any(String),
      uptimeSeconds: expect.any(Number),
      exports: [{ name: 'disk', connections: 1, ...done }],
      views: [{ name: 'disk@b1', export: 'disk', connections: 1, ...done }],
      clients: [
        { id: 1, export: 'disk', ...client },
        { id: 2, export: 'disk@b1', ...client },
      ],
    },
  ]);
  expect(document.exports[0]!.commands.read!.latency!.boundsSeconds).toHaveLength(14);
});

test('can leave histograms out, and be about some exports only, with their views and clients', async () => {
  const { ask } = await serve(['a', 'b', 'c d'], 'any,rights=admin');
  const { exports } = (await ask('?latency=false')).document;
  expect(exports.map(({ commands }) => commands.read!.latency)).toEqual([undefined, undefined, undefined]);
  const chosen = (await ask('?export=b&export=c%20d&export=missing')).document;
  expect(namesIn(chosen)).toEqual({ exports: ['b', 'c d'], views: [], clients: ['b', 'c d'] });
  expect(namesIn((await ask('?export=a')).document)).toEqual({
    exports: ['a'],
    views: ['a@b1'],
    clients: ['a', 'a@b1'],
  });
  expect((await ask(`?${'export=a&'.repeat(51)}`)).status).toBe(400);
  expect((await ask('?latency=perhaps')).status).toBe(400);
});

test('a long list has no histograms', async () => {
  const { ask } = await serve(
    Array.from({ length: 101 }, (_, i) => `disk${i}`),
    'any,rights=admin',
  );
  const { exports, views } = (await ask()).document;
  expect([exports[0]!.commands.read, views[0]!.commands.read]).toEqual([
    { operations: 1, bytes: 512, failed: 0, invalid: 0, seconds: 0 },
    expect.objectContaining({ latency: expect.anything() }),
  ]);
});

test('shows an export to those who may see what is dirty, and views and clients to administrators', async () => {
  for (const right of ['read', 'backup']) {
    const { ask } = await serve(['a', 'b'], `any,exports=a,rights=${right}`);
    expect(namesIn((await ask()).document), right).toEqual({ exports: ['a'], views: [], clients: [] });
  }
  const { ask } = await serve(['a', 'b'], 'any,rights=list');
  expect(namesIn((await ask('?export=a')).document)).toEqual({ exports: [], views: [], clients: [] });
  const both = await serve(['a', 'b'], 'any,exports=a,rights=admin', 'any,exports=b,rights=read');
  expect(namesIn((await both.ask()).document)).toEqual({
    exports: ['a', 'b'],
    views: ['a@b1'],
    clients: ['a', 'a@b1'],
  });
});

test('the bounds of an export can be set; its histograms begin anew, and those of others stay', async () => {
  const { exports, api, ask } = await serve(['a', 'b'], 'any,rights=admin');
  const set = async (boundsSeconds: number[]) => {
    const url = '/v1/exports/a/latency-bounds';
    const { statusCode, body } = await api.inject({ method: 'PUT', url, payload: { boundsSeconds } });
    return { status: statusCode, document: JSON.parse(body) };
  };
  expect(await set([0.001, 0.5])).toEqual({ status: 200, document: { boundsSeconds: [0.001, 0.5] } });
  expect(exports.get('a').latencyBounds).toEqual([1, 500]);
  const { exports: described, clients } = (await ask()).document;
  const boundsOf = ({ commands }: (typeof described)[0] | (typeof clients)[0]) => commands.read!.latency!.boundsSeconds;
  expect(boundsOf(described[0]!)).toEqual([0.001, 0.5]);
  expect(boundsOf(described[1]!)).toHaveLength(14);
  expect(boundsOf(clients[0]!)).toEqual([0.001, 0.5]);
  for (const wrong of [[], [0], [0.5, 0.1], Array.from({ length: 25 }, (_, i) => i + 1)]) {
    expect(await set(wrong), wrong.join()).toMatchObject({ status: 400, document: { code: 'BAD_REQUEST' } });
  }
  expect(exports.get('a').latencyBounds).toEqual([1, 500]);
});
