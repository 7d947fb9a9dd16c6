import { join } from 'node:path';
import { expect, onTestFinished, vi } from 'vitest';
import { Refusals } from '../../src/access/refusals.js';
import type { Backup } from '../../src/api/backup.js';
import type { Extents } from '../../src/api/bitmap.js';
import { Backups } from '../../src/backup/backups.js';
import { ExtentList } from '../../src/base/extents.js';
import { silentLog } from '../../src/base/log.js';
import { KIB } from '../../src/base/units.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import type { OnBitmapError } from '../../src/bitmap/store/bitmap-failures.js';
import { PersistentBitmaps } from '../../src/bitmap/store/persistent-bitmaps.js';
import { SignInCodes } from '../../src/control/admission/sign-in-codes.js';
import type { ControlHost } from '../../src/control/control-host.js';
import { Export } from '../../src/export/export.js';
import { KeptExports } from '../../src/export/kept-exports.js';
import { ExportRegistry } from '../../src/export/registry.js';
import { View } from '../../src/export/view.js';
import { NbdListener } from '../../src/server/nbd-listener.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';
import { EventFeed } from '../../src/watch/event-feed.js';
import { EventHistory } from '../../src/watch/event-history.js';
import type { ServerEvent } from '../../src/watch/happening.js';
import { type Answer, controlApiOf, noTokens, serverFacts, thresholdsOver } from './control-api.js';
import { put } from './device-content.js';
import { keepLog } from './log-lines.js';
import { MemoryDevice } from './memory-device.js';
import { MemoryScratch } from './memory-scratch.js';
import { MemoryStore } from './memory-store.js';
import { ampleLimits } from './nbd-limits.js';
import { openPolicy } from './open-access.js';
import { RawClient } from './raw-client.js';
import { scratchFolder } from './scratch-folder.js';

export type Described = Backup;

export const GRANULE = 64 * KIB;
export const GRANULES = 16;
const DISK_BYTES = GRANULES * GRANULE;

interface TestDisk {
  readonly device?: BlockDevice;
  readonly readOnly?: boolean;
}

interface Choices {
  /** By name. Without them there is one, "disk". */
  readonly disks?: Readonly<Record<string, TestDisk>>;
  readonly onBitmapError?: OnBitmapError;
  readonly cutTimeoutSeconds?: number;
}

/**
 * The part of a server that backups need: exports on disks in memory with persistent bitmaps, a store that survives a
 * restart, and the control API. Its clock stands still until the test advances it.
 */
export class BackupServer {
  readonly store = new MemoryStore();
  readonly scratch = new MemoryScratch();
  /** All published events, oldest first. */
  readonly events: ServerEvent[] = [];
  readonly logged = keepLog();
  exports!: ExportRegistry;
  backups!: Backups;
  private answer!: (method: 'GET' | 'POST' | 'DELETE', url: string, body?: object) => Promise<Answer>;
  private readonly devices: Map<string, BlockDevice>;

  private constructor(private readonly choices: Choices) {
    const { disks = { disk: {} } } = choices;
    const entries = Object.entries(disks);
    this.devices = new Map(entries.map(([name, { device }]) => [name, device ?? new MemoryDevice(DISK_BYTES)]));
  }

  static async start(choices: Choices = {}): Promise<BackupServer> {
    vi.useFakeTimers({ toFake: ['performance', 'Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const server = new BackupServer(choices);
    await server.open();
    onTestFinished(() => {
      server.store.failWith = undefined;
      return server.stop();
    });
    return server;
  }

  /** Restarts as after a kill: only the disks and the store are left. */
  async restart(): Promise<void> {
    await this.open();
  }

  async stop(): Promise<void> {
    await this.backups.close();
    await this.exports.close();
  }

  ask(method: 'GET' | 'POST' | 'DELETE', url: string, body?: object): Promise<Answer> {
    return this.answer(method, url, body);
  }

  /** Makes a request that must succeed. */
  async call<Document>(method: 'GET' | 'POST' | 'DELETE', url: string, body?: object): Promise<Document> {
    const { status, text, document } = await this.ask(method, url, body);
    expect(status, text).toBeLessThan(300);
    return document as Document;
  }

  /** Begins a backup of "disk" with the bitmap "nightly", unless `wanted` says otherwise. */
  begin(wanted: object = {}): Promise<Described> {
    return this.call('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly', ...wanted });
  }

  commit({ id }: Described): Promise<Described> {
    return this.call('POST', `/v1/backups/${id}/commit`);
  }

  abort({ id }: Described, reason?: string): Promise<Described> {
    return this.call('POST', `/v1/backups/${id}/abort`, reason === undefined ? undefined : { reason });
  }

  /** The current state of a backup. */
  look({ id }: Described): Promise<Described> {
    return this.call('GET', `/v1/backups/${id}`);
  }

  /** Makes a backup and commits it, so that the bitmap has a base and nothing is dirty. */
  async committed(wanted: object = {}): Promise<Described> {
    return this.commit(await this.begin(wanted));
  }

  bitmap(name = 'nightly', exportName = 'disk') {
    return this.call<{ base: string | null; busy: boolean }>('GET', `/v1/exports/${exportName}/bitmaps/${name}`);
  }

  /** The numbers of the dirty granules, from the control API. */
  async dirty(bitmap = 'nightly', exportName = 'disk'): Promise<number[]> {
    const url = `/v1/exports/${exportName}/bitmaps/${bitmap}/extents`;
    const { extents } = await this.call<Extents>('GET', url);
    return granulesIn(extents.filter(({ dirty }) => dirty));
  }

  /** The same for the view of a backup. */
  async viewDirty(backup: Described, exportName = 'disk'): Promise<number[]> {
    const view = this.view(backup, exportName);
    const list = new ExtentList(1000);
    const context = view.context(`qemu:dirty-bitmap:${backup.bitmap}`)!;
    expect(await context.status(0, view.sizeBytes, list)).toBe(0);
    let offset = 0;
    const extents = list.lengths.map((length, i) => {
      offset += length;
      return { offset: offset - length, length, dirty: list.statuses[i] === 1 };
    });
    return granulesIn(extents.filter(({ dirty }) => dirty));
  }

  view({ id }: Described, exportName = 'disk'): View {
    const view = this.exports.find(`${exportName}@${id}`);
    expect(view).toBeInstanceOf(View);
    return view as View;
  }

  /** The names of the views that clients can connect to. */
  views(): string[] {
    return this.exports.listServed().flatMap(({ name }) => (name.includes('@') ? [name] : []));
  }

  /** Fills granules with a letter, as a client does. */
  async write(granules: readonly number[], letter = 'x', exportName = 'disk'): Promise<void> {
    const { device } = this.exports.get(exportName);
    for (const granule of granules) await put(device, granule * GRANULE, Buffer.alloc(GRANULE, letter));
  }

  /** Serves everything over NBD. Returns a function that connects to an export. */
  async listen(): Promise<() => Promise<RawClient>> {
    const path = join(scratchFolder(), 'nbd.sock');
    const listener = new NbdListener({
      exports: this.exports,
      policy: openPolicy,
      log: silentLog,
      limits: ampleLimits,
    });
    await listener.listenUnix(path);
    onTestFinished(() => listener.drain());
    return async () => {
      const client = await RawClient.connect(path);
      onTestFinished(() => client.close());
      return client;
    };
  }

  /** Advances the clock, then lets it tick. */
  async pass(seconds: number): Promise<void> {
    vi.advanceTimersByTime(seconds * 1000);
    await this.backups.tick();
  }

  private async open(): Promise<void> {
    const { log } = this.logged;
    this.exports = new ExportRegistry(({ name }) => this.openExport(name));
    for (const name of this.devices.keys()) await this.exports.add({ name, path: 'memory' });
    const events = new EventFeed();
    events.follow((event) => void this.events.push(event));
    const { exports, store, scratch } = this;
    this.backups = await Backups.open({ exports, store, scratch, log, publish: events.publish.bind(events) });
    const history = await EventHistory.open(undefined, log);
    const host: ControlHost = {
      exports,
      kept: new KeptExports(),
      policy: openPolicy,
      backups: this.backups,
      events,
      history,
      hooks: { counts: () => [] },
      thresholds: thresholdsOver({ exports, backups: this.backups, events, history }),
      tokens: noTokens(),
      signInCodes: new SignInCodes(),
      refusals: new Refusals(log),
      log,
      reload: async () => ({ applied: [], notApplied: [] }),
      describeServer: () => serverFacts,
    };
    this.answer = (await controlApiOf(host)).ask;
  }

  private async openExport(name: string): Promise<Export> {
    const disk = this.devices.get(name)!;
    const { sizeBytes } = disk;
    const bitmaps = new BitmapSet(sizeBytes);
    const readOnly = this.choices.disks?.[name]?.readOnly ?? false;
    const persistence = await PersistentBitmaps.open({
      readOnly,
      exportName: name,
      bitmaps,
      store: this.store,
      identify: async () => ({
        kind: 'file',
        id: name,
        sizeBytes: disk.sizeBytes,
        modifiedAt: '1',
        changedAt: '1',
      }),
      limits: { regionBytes: GRANULE, maxActiveRegions: 8, coolAfterTicks: 0 },
      onBitmapError: this.choices.onBitmapError ?? 'refuse',
      log: this.logged.log,
    });
    const { cutTimeoutSeconds = 60 } = this.choices;
    const parts = { name, description: '', path: 'memory', readOnly, disk, bitmaps, persistence };
    return new Export({ ...parts, cutTimeoutSeconds });
  }
}

/** Every granule of a disk. */
export const allGranules = Array.from({ length: GRANULES }, (_, i) => i);

function granulesIn(ranges: readonly { offset: number; length: number }[]): number[] {
  return ranges.flatMap(({ offset, length }) =>
    Array.from({ length: Math.ceil(length / GRANULE) }, (_, i) => Math.floor(offset / GRANULE) + i),
  );
}

/** An incremental backup in which granule 1 is dirty. Granule 2 has been written since it began. */
export async function underWay(): Promise<{ server: BackupServer; base: Described; backup: Described }> {
  const server = await BackupServer.start();
  await server.write([0, 1, 2, 3], 'a');
  const base = await server.committed();
  await server.write([1], 'b');
  const backup = await server.begin({ ttlSeconds: 60 });
  await server.write([2], 'c');
  return { server, base, backup };
}
