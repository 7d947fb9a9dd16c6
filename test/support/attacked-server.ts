import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { MIB } from '../../src/base/units.js';
import { resolveConfig, type ServerConfig } from '../../src/server/config.js';
import { layGroundwork } from '../../src/server/groundwork.js';
import { TidemarkServer } from '../../src/server/server.js';
import { readFlags, type SettingKey } from '../../src/server/settings.js';
import { makeImage } from './image.js';
import { keepLog, type LoggedLine } from './log-lines.js';
import { RawClient } from './raw-client.js';
import { scratchFolder } from './scratch-folder.js';
import { pskFile, type TestAuthority } from './tls-files.js';

export type Mode = 'required' | 'optional';

/** An address that attackers have for themselves. Those of others begin like it. */
export const ATTACKER = '127.0.0.61';
const ATTACKERS = /^127\.0\.0\.6\d\b/;

/** The rules end what clients on this machine may do without one. Nobody may see "hidden". */
const rules = [
  'cn:good,from=127.0.0.0/8,exports=disk,rights=write',
  'cn:reader,exports=disk,rights=read',
  'cn:lister,exports=disk,rights=list',
  'psk:alice,exports=disk,rights=read',
];

interface Circumstances {
  readonly mode: Mode;
  readonly threads?: number;
  /** The serial numbers of certificates. */
  readonly revoked?: readonly string[];
  readonly settings?: readonly (readonly [SettingKey, string])[];
}

/**
 * A whole server of the exports "disk" and "hidden", with TLS for NBD and the control API on a loopback address, until the
 * end of the test. It keeps its log.
 */
export class AttackedServer {
  private readonly clients: RawClient[] = [];

  private constructor(
    private readonly server: TidemarkServer,
    private readonly config: ServerConfig,
    private readonly authority: TestAuthority,
    private readonly certificates: string,
    private readonly lines: readonly LoggedLine[],
  ) {}

  static async start(authority: TestAuthority, circumstances: Circumstances): Promise<AttackedServer> {
    const { mode, threads = 1, revoked = [], settings = [] } = circumstances;
    const certificates = await authority.serverFolder();
    await writeRevocations(certificates, authority, revoked);
    const given: (readonly [SettingKey, string | true])[] = [
      ['state', join(scratchFolder(), 'state')],
      ['transient', true],
      ['export', `disk=${makeImage(MIB)},bitmap=nightly`],
      ['export', `hidden=${makeImage(MIB)}`],
      ['listen', '127.0.0.1:0'],
      ['http', '127.0.0.1:0'],
      ['tls', mode],
      ['tls-certificates', certificates],
      ['tls-psk', pskFile({ alice: 'ab'.repeat(32) })],
      ['threads', String(threads)],
      ['busy-poll', '0'],
      ...rules.map((rule) => ['access', rule] as const),
      ...settings,
    ];
    const flags = readFlags(given.map(([key, value]) => ({ key, value })));
    const config = resolveConfig(flags);
    const { log, lines } = keepLog();
    const reread = async () => ({ config, file: flags });
    const logControl = { log, setLevel: () => {} };
    const groundwork = await layGroundwork(config, log);
    const server = await TidemarkServer.start({ config, file: flags, reread }, logControl, 'test', groundwork);
    const attacked = new AttackedServer(server, config, authority, certificates, lines);
    onTestFinished(async () => {
      for (const client of attacked.clients) client.close();
      await server.stop();
    });
    return attacked;
  }

  get nbdPort(): number {
    return this.firstLine<{ tcp: { port: number }[] }>('tidemark is serving').tcp[0]!.port;
  }

  get httpPort(): number {
    return this.firstLine<{ port: number }>('the control API listens on TCP').port;
  }

  /** Whoever can use it may do everything. */
  get controlPath(): string {
    return this.config.controlPath!;
  }

  /** Whether a client has been in another thread than the main one. */
  get hasUsedThread(): boolean {
    const { listener } = this.server as unknown as { listener: { threads: { threads: readonly unknown[] } } };
    return listener.threads.threads.length > 0;
  }

  /** A client that is connected, of NBD unless the port is another one. */
  async dial(localAddress = ATTACKER, port = this.nbdPort): Promise<RawClient> {
    const client = await RawClient.connect({ host: '127.0.0.1', port, localAddress });
    this.clients.push(client);
    return client;
  }

  /** A client of NBD that has sent its flags. */
  async greet(localAddress?: string): Promise<RawClient> {
    const client = await this.dial(localAddress);
    await client.greet();
    return client;
  }

  /** Replaces the list of revoked certificates, and reloads. */
  async revoke(serials: readonly string[]): Promise<void> {
    await writeRevocations(this.certificates, this.authority, serials);
    await this.server.reload('the test');
  }

  /** What the log says about attackers, or one of them, one line each. */
  logged(address?: string): string {
    return this.linesOf(address)
      .map(({ message, fields }) => `${message}: ${(fields as { reason?: string }).reason}`)
      .join('\n');
  }

  /** The warnings about an attacker. */
  warnings(address: string): string[] {
    return this.linesOf(address).flatMap(({ level, message }) => (level === 'warn' ? [message] : []));
  }

  private linesOf(address?: string): LoggedLine[] {
    return this.lines.filter(({ fields }) => {
      const [client = ''] = (fields as { client?: string }).client?.split(':') ?? [];
      return address === undefined ? ATTACKERS.test(client) : client === address;
    });
  }

  private firstLine<Fields>(message: string): Fields {
    return this.lines.find((line) => line.message === message)!.fields as Fields;
  }
}

async function writeRevocations(folder: string, authority: TestAuthority, serials: readonly string[]): Promise<void> {
  writeFileSync(join(folder, 'ca-crl.pem'), await authority.revoke(serials));
}
