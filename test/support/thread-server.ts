import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { Policy } from '../../src/access/access.js';
import { AccessRules } from '../../src/access/access-rules.js';
import { NbdClient, type NbdConnectOptions } from '../../src/client/nbd-client.js';
import type { TlsWish } from '../../src/client/tls-wish.js';
import type { Export } from '../../src/export/export.js';
import { ExportRegistry } from '../../src/export/registry.js';
import { NbdListener } from '../../src/server/nbd-listener.js';
import { openExport } from '../../src/server/open-export.js';
import type { ClientThread } from '../../src/session/threads/client-thread-owner.js';
import type { WritePermits } from '../../src/storage/permits/write-permits.js';
import { loadServerTls } from '../../src/tls/tls-settings.js';
import { exportHost } from './export-host.js';
import { makeImage } from './image.js';
import { insideOf } from './inside.js';
import { MemoryStore } from './memory-store.js';
import { ampleLimits } from './nbd-limits.js';
import { RawClient } from './raw-client.js';
import { native } from './scratch-device.js';
import { scratchFolder } from './scratch-folder.js';
import { pskFile as makePskFile } from './tls-files.js';

const TEST_KEY = '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff';

/** For a socket of Node's TLS. */
export const testKey = {
  ciphers: 'TLS_AES_128_GCM_SHA256',
  pskCallback: () => ({ identity: 'alice', psk: Buffer.from(TEST_KEY, 'hex') }),
};

/** A server of "disk", with the bitmap "nightly", whose clients are spread over several threads. */
export class ThreadServer {
  private constructor(
    readonly exports: ExportRegistry,
    readonly served: Export,
    readonly image: string,
    /** What was logged above the level info. */
    readonly complaints: { readonly message: string; readonly fields: object }[],
    private readonly socketPath: string,
    private readonly listener: NbdListener,
    private readonly log: { level: string },
    private readonly policy: Policy,
    private readonly tls: TlsWish | undefined,
    private readonly owners: { readonly threads: readonly (ClientThread | undefined)[]; files: string },
  ) {}

  /**
   * Of several disks, the others are "disk1", "disk2" and so on, without bitmaps. With `usesTls`, clients have to use
   * TLS, and `connect` does, with a key.
   */
  static async start(
    sizeBytes: number,
    {
      threads = 3,
      bitmap = 'nightly',
      disks = 1,
      logLevel = 'debug',
      usesTls = false,
      handshakeTimeoutSeconds = 30,
    } = {},
  ): Promise<ThreadServer> {
    const image = makeImage(sizeBytes);
    const host = exportHost(new MemoryStore());
    const exports = new ExportRegistry((spec) => openExport(spec, host));
    const [name, granularity] = bitmap.split(':');
    const granularityBytes = granularity === undefined ? {} : { granularityBytes: Number(granularity) };
    const served = await exports.add({ name: 'disk', path: image, bitmaps: [{ name: name!, ...granularityBytes }] });
    for (let i = 1; i < disks; i++) await exports.add({ name: `disk${i}`, path: makeImage(sizeBytes) });
    const path = join(scratchFolder(), 'nbd.sock');
    const complaints: ThreadServer['complaints'] = [];
    const complain = (fields: object, message: string) => void complaints.push({ fields, message });
    const limits = { ...ampleLimits, maxConnections: 64, threads, handshakeTimeoutSeconds };
    const quiet = () => {};
    const log = { level: logLevel, trace: quiet, debug: quiet, info: quiet, warn: complain, error: complain };
    const policy = new Policy(new AccessRules([]));
    const listener = new NbdListener({ exports, policy, log, limits, posix: native });
    const pskFile = usesTls ? makePskFile({ alice: TEST_KEY }) : undefined;
    if (pskFile !== undefined) listener.useTls('required', await loadServerTls({ psk: pskFile }));
    const tls =
      pskFile === undefined ? undefined : ({ pskFile, username: 'alice', verification: 'authority' } as const);
    await listener.listenUnix(path);
    onTestFinished(async () => {
      await listener.drain();
      await exports.close();
    });
    const { threads: owners } = listener as unknown as { threads: ThreadServer['owners'] };
    return new ThreadServer(exports, served, image, complaints, path, listener, log, policy, tls, owners);
  }

  async connect(options: NbdConnectOptions = {}, exportName = 'disk'): Promise<NbdClient> {
    const { socketPath, tls } = this;
    const client = await NbdClient.connect({ address: { socketPath }, exportName, ...(tls && { tls }) }, options);
    onTestFinished(() => client.abort());
    return client;
  }

  async connectRaw(): Promise<RawClient> {
    const client = await RawClient.connect(this.socketPath);
    onTestFinished(() => client.close());
    return client;
  }

  /** How many clients each thread serves, the main thread first. */
  get clientCounts(): number[] {
    const elsewhere = this.owners.threads.map((thread) => thread?.clientCount ?? 0);
    const all = this.exports.list().reduce((sum, { clientCount }) => sum + clientCount, 0);
    return [all - elsewhere.reduce((sum, count) => sum + count, 0), ...elsewhere];
  }

  /** How many clients in other threads use the disk, as the disk counts them. */
  get sharesInUse(): number {
    return (this.served as unknown as { sharing: { users: number } }).sharing.users;
  }

  /** Undefined until a client gets to another thread. */
  get permits(): WritePermits | undefined {
    return insideOf(this.served).gate.permits;
  }

  /** The calls that threads ask the main thread to make from now on, and 'log' for each line that they send. */
  countCalls(): { readonly calls: string[] } {
    const calls: string[] = [];
    for (const thread of this.owners.threads) {
      if (!thread) continue;
      const inside = thread as unknown as { take(message: { kind: string; call?: { call: string } }): void };
      const take = inside.take.bind(thread);
      vi.spyOn(inside, 'take').mockImplementation((message) => {
        if (message.kind === 'ask') calls.push(message.call!.call);
        else if (message.kind === 'log') calls.push('log');
        take(message);
      });
    }
    return { calls };
  }

  /** How many clients other threads have, those in the handshake included. */
  get threadClients(): number {
    return this.owners.threads.reduce((sum, thread) => sum + (thread?.clientCount ?? 0), 0);
  }

  /** Replaces the access rules, as a reload does. */
  useRules(rules: AccessRules): void {
    this.policy.current = rules;
    this.listener.recheckRights();
  }

  /** Changes the level of the log, as a reload does. */
  useLogLevel(level: string): void {
    this.log.level = level;
    this.listener.useLogLevel();
  }

  /** As when the server stops. */
  drain(): Promise<void> {
    return this.listener.drain();
  }

  /** As if the files of the program had been other ones when the server started. */
  replaceProgram(): void {
    this.owners.files = '';
  }

  /** Ends a thread in the middle of whatever it does. */
  async kill(index: number): Promise<void> {
    const { worker } = this.owners.threads[index] as unknown as { worker: { terminate(): Promise<number> } };
    await worker.terminate();
  }
}
