// Writes docs/openapi.json, the answer of the built server to GET /openapi.json.

import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

const { buildControlApi } = await import(resolve(root, 'dist/control/control-api.js'));
const { EventFeed } = await import(resolve(root, 'dist/watch/event-feed.js'));
const { ExportRegistry } = await import(resolve(root, 'dist/export/registry.js'));

// The document does not depend on the exports.
const nothing = () => {
  throw new Error('the description does not depend on a server');
};
const api = await buildControlApi({
  exports: new ExportRegistry(nothing),
  events: new EventFeed(),
  log: console,
  describeServer: nothing,
});
const answer = await api.inject({ url: '/openapi.json' });
await api.close();
writeFileSync(resolve(root, 'docs/openapi.json'), `${JSON.stringify(answer.json(), null, 2)}\n`);
