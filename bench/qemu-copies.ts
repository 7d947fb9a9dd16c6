import { rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { NbdClient } from '../src/client/nbd-client.js';
import { type FioEnvironment, type FioJob, runFio } from './fio.js';
import { type CommandLine, onCore, Program } from './program.js';
import type { Image } from './servers.js';

const START_SECONDS = 30;

/**
 * Runs the job on a disk that QEMU serves under its filter copy-before-write, which copies to a new file. Resolves to the
 * writes per second. Clusters have 64 KiB.
 */
export async function measureQemuCopies(
  image: Image,
  job: Omit<FioJob, 'uri'>,
  environment: FioEnvironment,
): Promise<number> {
  const { folder, signal, pin } = environment;
  const target = join(folder, 'old-data');
  await writeFile(target, '');
  await truncate(target, job.sizeBytes);
  const socket = join(folder, 'qemu.sock');
  const file = (name: string, path: string) => [
    '--blockdev',
    `driver=file,node-name=${name},filename=${path},aio=io_uring`,
  ];
  const commandLine: CommandLine = [
    'qemu-storage-daemon',
    ...file('disk', image.path),
    ...file('target', target),
    ...['--blockdev', 'driver=copy-before-write,node-name=copying,file=disk,target=target'],
    ...['--nbd-server', `addr.type=unix,addr.path=${socket}`],
    ...['--export', `type=nbd,id=export,node-name=copying,name=${image.exportName},writable=on`],
  ];
  await using daemon = new Program(pin ? onCore(0, commandLine) : commandLine, signal);
  const uri = `nbd+unix:///${image.exportName}?socket=${socket}`;
  await waitUntilServed(uri, daemon);
  const { iops } = await runFio({ ...job, uri }, environment);
  await rm(target);
  return iops;
}

async function waitUntilServed(uri: string, daemon: Program): Promise<void> {
  for (const deadline = Date.now() + START_SECONDS * 1000; ; await delay(20)) {
    try {
      return await (await NbdClient.connect(uri)).disconnect();
    } catch (error) {
      if (daemon.hasEnded) throw new Error(`qemu-storage-daemon ended at once:\n${daemon.output}`);
      if (Date.now() > deadline) throw error;
    }
  }
}
