import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { freePort } from './free-port.js';
import { type Peer, startPeer } from './peer.js';
import { scratchFolder } from './scratch-folder.js';

/** The build of this checkout, unless the environment names an installed program. */
export const tidemarkProgram = process.env.TIDEMARK_PROGRAM ?? resolve(import.meta.dirname, '../../dist/main.js');

export interface Tidemark extends Peer {
  /** The URI of an export on the unix socket. */
  uri(exportName: string): string;
  readonly port: number;
  /** The path of the control socket. */
  readonly control: string;
}

/** Starts tidemark as users do, with an `--export` for each of `specs`. It ends with the test. */
export function startTidemark(...specs: string[]): Promise<Tidemark> {
  return startTidemarkIn(scratchFolder(), specs);
}

/** The same with the state and the sockets in `folder`, where an earlier server may have left them. */
export async function startTidemarkIn(
  folder: string,
  specs: readonly string[],
  options: readonly string[] = [],
): Promise<Tidemark> {
  if (!existsSync(tidemarkProgram)) throw new Error('tidemark is not built: run `npm run build` first');
  const [socket, control, port] = [join(folder, 'nbd.sock'), join(folder, 'control.sock'), await freePort()];
  const peer = await startPeer(
    process.execPath,
    [
      ...[tidemarkProgram, 'serve'],
      ...specs.flatMap((spec) => ['--export', spec]),
      ...['--unix', socket, '--listen', `127.0.0.1:${port}`],
      ...['--state', join(folder, 'state'), '--control', control],
      ...options,
    ],
    { path: control },
  );
  return { ...peer, uri: (exportName) => `nbd+unix:///${exportName}?socket=${socket}`, port, control };
}
