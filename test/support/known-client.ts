import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Policy } from '../../src/access/access.js';
import type { AccessRules } from '../../src/access/access-rules.js';
import type { Identity } from '../../src/access/identity.js';
import { type Log, silentLog } from '../../src/base/log.js';
import type { ExportRegistry } from '../../src/export/registry.js';
import { NbdListener } from '../../src/server/nbd-listener.js';
import { ampleLimits } from './nbd-limits.js';
import { RawClient } from './raw-client.js';
import { scratchFolder } from './scratch-folder.js';

/** Serves clients who are what a test says they are, until the end of the test. */
export async function serveKnownClients(exports: ExportRegistry, rules: AccessRules, log: Log = silentLog) {
  const policy = new Policy(rules);
  const listener = new NbdListener({ exports, policy, log, limits: ampleLimits });
  const path = join(scratchFolder(), 'known.sock');
  const accepted: ((socket: Socket) => void)[] = [];
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => accepted.shift()!(socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const clients: RawClient[] = [];
  onTestFinished(async () => {
    for (const client of clients) client.close();
    server.close();
    await listener.drain();
    await exports.close();
  });
  const connectAs = async (identity: Identity, origin = 'known') => {
    const adopted = new Promise<Socket>((resolve) => accepted.push(resolve));
    const client = await RawClient.connect(path);
    clients.push(client);
    void listener.adopt(await adopted, { client: 'known', origin, identity });
    return client;
  };
  return { listener, policy, connectAs };
}
