import { KIB } from '../../../src/base/units.js';
import { type FuzzDisk, MODEL, specOf } from '../transmission/disks.js';

/** What a client may do with a disk. Each includes those before it. */
type Reach = 'nothing' | 'list' | 'read' | 'write';

/** Clients without TLS do not see the last one. Each has a size of its own, by which it is known. */
export const vaults: readonly FuzzDisk[] = [1, 2, 3, 4].map((number) => {
  const sizeBytes = 64 * KIB + number * 512;
  return { ...MODEL, name: `vault-${number}`, sizeBytes, fileBytes: sizeBytes, bitmaps: [] };
});

export function vaultSpec(vault: FuzzDisk, path: string): string {
  return `${specOf(vault, path)}${vault === vaults.at(-1) ? ',tls=required' : ''}`;
}

/** The rules of the server. The other targets connect to its unix socket, and may do everything. */
export const accessRules: readonly string[] = [
  `user:${process.getuid!()},rights=admin`,
  'local,rights=read,exports=vault-1',
  'local,rights=list,exports=vault-4',
  'cn:reader,rights=read,exports=vault-2,exports=v*-4',
  'san:*.writers.example,rights=write,exports=vault-2',
  'san:*.writers.example,rights=list,exports=vault-3',
  'dn:CN=keeper,,O=Example,rights=backup,exports=vault-?',
  'psk:admin,rights=admin,exports=vault-3',
  'psk:admin,rights=list,rights=write,exports=*t-4',
];

/** What these rules mean, for each of `vaults`, worked out by hand. */
const reaches = {
  /** Proves nothing. */
  stranger: ['read', 'nothing', 'nothing', 'list'],
  reader: ['read', 'read', 'nothing', 'read'],
  writer: ['read', 'write', 'list', 'list'],
  keeper: ['read', 'list', 'list', 'list'],
  admin: ['read', 'nothing', 'write', 'write'],
  /** Proves a name that no rule is about. */
  unnamed: ['read', 'nothing', 'nothing', 'list'],
} satisfies Record<string, readonly Reach[]>;
const inTheClear: readonly Reach[] = ['read', 'nothing', 'nothing', 'nothing'];

/** A client that gets through the TLS handshake. */
export type Guest = keyof typeof reaches;
export const guests = Object.keys(reaches) as readonly Guest[];

/** Exports that none of these clients may see. */
const others = ['model', 'http-a', 'http-b'];

/** The disks as one client sees them. */
export class Sight {
  private constructor(
    /** For messages. */
    readonly who: string,
    readonly secured: boolean,
    private readonly reaches: readonly Reach[],
  ) {}

  static readonly inTheClear = new Sight('a client in the clear', false, inTheClear);

  static of(guest: Guest): Sight {
    return new Sight(guest, true, reaches[guest]);
  }

  get visible(): string[] {
    return vaults.map(({ name }) => name).filter((name) => this.reachOf(name) !== 'nothing');
  }

  get hidden(): string[] {
    return [...vaults.map(({ name }) => name), ...others].filter((name) => this.reachOf(name) === 'nothing');
  }

  /** The empty name means the only disk that the client sees. */
  nameFor(asked: string): string {
    return asked === '' && this.visible.length === 1 ? this.visible[0]! : asked;
  }

  reachOf(name: string): Reach {
    return this.reaches[vaults.findIndex((vault) => vault.name === name)] ?? 'nothing';
  }
}
