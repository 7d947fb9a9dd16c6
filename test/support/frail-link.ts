import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { scratchFolder } from './scratch-folder.js';

/** A way to a server on a unix socket that a test can cut. */
export interface FrailLink {
  /** Where clients connect instead. */
  readonly path: string;
  /** The bytes that the server has sent to clients. */
  readonly bytes: number;
  /** The connections that were made. */
  readonly connections: number;
  /** Ends all connections. */
  cut(): void;
  /** Ends a connection after it has brought so many bytes from the server; Infinity for never. */
  cutAfter(bytes: number): void;
  /** While false, new connections end at once. */
  isUp: boolean;
  /** Leads new connections to another server. */
  lead(to: string): void;
}

export async function frailLink(to: string): Promise<FrailLink> {
  const path = join(scratchFolder(), 'link.sock');
  const sockets = new Set<Socket>();
  let [target, limit, bytes, connections, isUp] = [to, Number.POSITIVE_INFINITY, 0, 0, true];
  const server = createServer((client) => {
    if (!isUp) return void client.destroy();
    connections++;
    const upstream = connect(target);
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', end).on('close', () => {
        sockets.delete(socket);
        end();
      });
    }
    let brought = 0;
    upstream.on('data', (chunk) => {
      bytes += chunk.length;
      brought += chunk.length;
      if (brought > limit) end();
      else if (!client.write(chunk)) {
        upstream.pause();
        client.once('drain', () => upstream.resume());
      }
    });
    client.pipe(upstream);
  });
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => {
    server.close();
    cut();
  });
  return {
    path,
    cut,
    get bytes() {
      return bytes;
    },
    get connections() {
      return connections;
    },
    cutAfter: (count) => {
      limit = count;
    },
    get isUp() {
      return isUp;
    },
    set isUp(up) {
      isUp = up;
    },
    lead: (to) => {
      target = to;
    },
  };
}
