import { randomUUID } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { NbdClientError } from '../../../src/client/errors.js';
import { NbdClient } from '../../../src/client/nbd-client.js';
import { expectThat, type Target } from '../target.js';
import { type ClientPlan, type ClientRequest, planClient } from './client-plan.js';
import { contentAt, LyingServer } from './lying-server.js';

const CONTEXTS = ['base:allocation', 'qemu:dirty-bitmap:nightly'];
/** Nothing waits that long, because the lying server ends the connection after its last message. */
const TIMEOUT_SECONDS = 30;

/** The agent's NBD client, connected to a server that changes one of its messages. */
export class ClientTarget implements Target<ClientPlan> {
  readonly name = 'client';
  readonly isLocal = true;
  readonly plan = planClient;
  private script: ClientPlan | undefined;
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly socketPath: string,
  ) {
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket.once('close', () => this.sockets.delete(socket)));
      new LyingServer(socket, this.script!);
    });
  }

  static async prepare(folder: string): Promise<ClientTarget> {
    const path = join(folder, `${randomUUID().slice(0, 8)}.sock`);
    const server = createServer({ noDelay: true });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return new ClientTarget(server, path);
  }

  async run(plan: ClientPlan): Promise<number> {
    this.script = plan;
    const target = { address: { socketPath: this.socketPath }, exportName: 'disk' };
    const contexts = plan.withContexts ? CONTEXTS : [];
    const client = await pass(plan, NbdClient.connect(target, { contexts, timeoutSeconds: TIMEOUT_SECONDS }));
    if (client) {
      const asked = plan.requests.map((request) => pass(plan, this.ask(client, request, plan)));
      await Promise.all(asked);
      if (plan.spoiled === undefined) await client.disconnect();
      else client.abort();
    }
    return plan.requests.length + 1;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async ask(client: NbdClient, request: ClientRequest, plan: ClientPlan): Promise<void> {
    const { kind, offset, length, requestOne } = request;
    // A server that lies may have made the export smaller.
    if (offset + length > client.sizeBytes || length > client.blockSizes.maximum) return;
    if (kind === 'read') {
      const data = await client.read(offset, length);
      const mayDiffer = plan.spoiled !== undefined && plan.lie === 'change';
      const isRight = mayDiffer || data.equals(contentAt(offset, length));
      expectThat(isRight, () => `${length} bytes at ${offset} were not read as the server sent them`);
    } else if (kind === 'write') await client.write(offset, contentAt(offset, length));
    else if (kind === 'zero') await client.zero(offset, length);
    else if (kind === 'trim') await client.trim(offset, length);
    else if (kind === 'cache') await client.cache(offset, length);
    else if (kind === 'flush') await client.flush();
    else if (client.contexts.length > 0) {
      const contexts = offset % 2 === 0 ? client.contexts : CONTEXTS.slice(1);
      await client.blockStatus(offset, length, { reqOne: requestOne, contexts });
    }
  }
}

/** The outcome; undefined if the client detected that the server lies. */
async function pass<Result>({ spoiled }: ClientPlan, asked: Promise<Result>): Promise<Result | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (spoiled === undefined || !(error instanceof NbdClientError)) throw error;
    return undefined;
  }
}
