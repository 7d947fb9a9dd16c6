import { join } from 'node:path';
import type { SignInLink } from '../../src/api/sign-in.js';
import { type Control, controlOf } from './control.js';
import { freePort } from './free-port.js';
import { untilListening } from './peer.js';
import { scratchFolder } from './scratch-folder.js';
import { startTidemarkIn, type Tidemark } from './tidemark.js';

export interface PageServer extends Tidemark {
  /** Of the page: `http://127.0.0.1:PORT/`. */
  readonly url: string;
  readonly folder: string;
  readonly api: Control;
  /** A link that signs in once. */
  link(): Promise<string>;
  /** Stops the server, and starts another one in its place. */
  restart(): Promise<PageServer>;
}

/** A server with a page, and the disk `vm1` of 64 MiB with the bitmap `nightly`. It ends with the test. */
export async function startPageServer(folder = scratchFolder(), port?: number): Promise<PageServer> {
  const httpPort = port ?? (await freePort());
  const specs = [`vm1=${join(folder, 'vm1.img')},size=64M,bitmap=nightly`];
  const server = await startTidemarkIn(folder, specs, ['--http', `127.0.0.1:${httpPort}`]);
  await untilListening({ host: '127.0.0.1', port: httpPort });
  const api = controlOf(server);
  return {
    ...server,
    url: `http://127.0.0.1:${httpPort}/`,
    folder,
    api,
    link: async () => (await api.call<SignInLink>('POST', '/v1/sign-in-links', {})).url!,
    async restart() {
      await server.stop();
      return startPageServer(folder, httpPort);
    },
  };
}
