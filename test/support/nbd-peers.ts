import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { freePort } from './free-port.js';
import { startPeer, untilListening } from './peer.js';
import { scratchFolder } from './scratch-folder.js';

/** Serves a plugin of nbdkit on a unix socket. Returns the URI. */
export async function startNbdkit(...args: string[]): Promise<string> {
  const path = join(scratchFolder(), 'nbdkit.sock');
  await startPeer('nbdkit', ['--foreground', '--unix', path, ...args], { path });
  return `nbd+unix:///?socket=${path}`;
}

/** Serves an image to any number of clients with qemu-nbd, on a unix socket. Returns the URI. */
export async function startQemuNbd(image: string, ...args: string[]): Promise<string> {
  const path = join(scratchFolder(), 'qemu-nbd.sock');
  await startPeer('qemu-nbd', ['--persistent', '--shared=0', '--socket', path, ...args, image], { path });
  return `nbd+unix:///?socket=${path}`;
}

/** Serves a plugin of nbdkit on a TCP port of localhost. Returns the port. */
export async function startNbdkitOnPort(...args: string[]): Promise<number> {
  const port = await freePort();
  const address = ['--ipaddr', '127.0.0.1', '--port', String(port)];
  await startPeer('nbdkit', ['--foreground', ...address, ...args], { host: '127.0.0.1', port });
  return port;
}

/** Serves an image to any number of clients with qemu-nbd, on a TCP port of localhost. Returns the port. */
export async function startQemuNbdOnPort(image: string, ...args: string[]): Promise<number> {
  const port = await freePort();
  const address = ['--bind', '127.0.0.1', '--port', String(port)];
  await startPeer('qemu-nbd', ['--persistent', '--shared=0', ...address, ...args, image], { host: '127.0.0.1', port });
  return port;
}

/** Serves a file as the export `disk` with nbd-server, on a TCP port. Returns the URI. */
export async function startNbdServer(image: string): Promise<string> {
  const port = await freePort();
  const folder = scratchFolder();
  const [configuration, pidFile] = [join(folder, 'nbd-server.conf'), join(folder, 'nbd-server.pid')];
  const general = ['[generic]', 'listenaddr = 127.0.0.1', `port = ${port}`, 'allowlist = true'];
  const disk = ['[disk]', `exportname = ${image}`, 'flush = true', 'fua = true'];
  writeFileSync(configuration, [...general, ...disk, ''].join('\n'));
  // In the foreground it would serve only one client. In the background it writes its process ID to a file.
  execFileSync('nbd-server', ['-C', configuration, '-p', pidFile], { stdio: 'ignore' });
  await untilListening({ host: '127.0.0.1', port });
  const pid = Number(readFileSync(pidFile, 'utf8'));
  onTestFinished(() => void process.kill(pid));
  return `nbd://127.0.0.1:${port}/disk`;
}

export interface DirtyImage {
  readonly path: string;
  readonly bitmap: string;
  readonly sizeBytes: number;
}

/**
 * A qcow2 image with a persistent bitmap that has recorded the writes to these ranges, each filled with its pattern
 * byte.
 */
export function makeDirtyImage(writes: readonly { offset: number; length: number; pattern: number }[]): DirtyImage {
  const image = { path: join(scratchFolder(), 'disk.qcow2'), bitmap: 'nightly', sizeBytes: 16 * 1024 * 1024 };
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'pipe' });
  run('qemu-img', 'create', '-q', '-f', 'qcow2', image.path, String(image.sizeBytes));
  run('qemu-img', 'bitmap', '--add', image.path, image.bitmap);
  const commands = writes.flatMap(({ offset, length, pattern }) => ['-c', `write -P ${pattern} ${offset} ${length}`]);
  run('qemu-io', '-f', 'qcow2', ...commands, image.path);
  return image;
}
