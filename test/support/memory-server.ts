import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Policy } from '../../src/access/access.js';
import { type Log, silentLog } from '../../src/base/log.js';
import { MIB } from '../../src/base/units.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import { Export } from '../../src/export/export.js';
import { ExportRegistry } from '../../src/export/registry.js';
import { type NbdLimits, NbdListener } from '../../src/server/nbd-listener.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';
import type { TlsSettings } from '../../src/tls/tls-settings.js';
import { MemoryDevice } from './memory-device.js';
import { ampleLimits } from './nbd-limits.js';
import { openPolicy } from './open-access.js';
import { RawClient } from './raw-client.js';

export interface MemoryExport {
  readonly name: string;
  readonly device?: BlockDevice;
  readonly description?: string;
  readonly readOnly?: boolean;
  readonly minBlockBytes?: 1 | 512 | 4096;
  /** The names of bitmaps, with a granularity of 64 KiB. */
  readonly bitmaps?: readonly string[];
}

/** How clients are met. */
interface ServerAccess {
  readonly tls?: { readonly mode: 'optional' | 'required'; readonly settings: TlsSettings };
  readonly policy?: Policy;
}

export interface MemoryServer {
  readonly exports: ExportRegistry;
  readonly listener: NbdListener;
  readonly path: string;
  connect(): Promise<RawClient>;
}

export const DISK_BYTES = 4 * MIB;

/** Exports as in a server, on disks in memory unless a device is given. */
export async function memoryRegistry(served: readonly MemoryExport[]): Promise<ExportRegistry> {
  const byName = new Map(served.map((one) => [one.name, one]));
  const registry = new ExportRegistry(async ({ name }) => {
    const { device, description = '', readOnly = false, minBlockBytes, bitmaps = [] } = byName.get(name)!;
    const disk = device ?? new MemoryDevice(DISK_BYTES);
    const set = new BitmapSet(disk.sizeBytes);
    for (const bitmap of bitmaps) set.add({ name: bitmap });
    return new Export({ name, description, path: 'memory', readOnly, minBlockBytes, disk, bitmaps: set });
  });
  for (const { name } of served) await registry.add({ name, path: 'memory' });
  return registry;
}

/** A server of these exports that listens until the end of the test. */
export async function startMemoryServer(
  served: readonly MemoryExport[] = [{ name: 'disk', bitmaps: ['nightly'] }],
  limits: Partial<NbdLimits> = {},
  log: Log = silentLog,
  { tls, policy = openPolicy }: ServerAccess = {},
): Promise<MemoryServer> {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-'));
  const path = join(directory, 'nbd.sock');
  const exports = await memoryRegistry(served);
  const listener = new NbdListener({ exports, policy, log, limits: { ...ampleLimits, ...limits } });
  if (tls) listener.useTls(tls.mode, tls.settings);
  await listener.listenUnix(path);
  const clients: RawClient[] = [];
  onTestFinished(async () => {
    for (const client of clients) client.close();
    await listener.drain();
    await exports.close();
    rmSync(directory, { recursive: true });
  });
  const connect = async () => {
    const client = await RawClient.connect(path);
    clients.push(client);
    return client;
  };
  return { exports, listener, path, connect };
}
