import { isLoopback } from '../base/host-port.js';
import { printable } from '../base/printable.js';
import type { TlsProof } from '../tls/door.js';
import { type CertificateFacts, ownerOf } from '../tls/names.js';
import type { Right } from './rights.js';

/** The process at the other end of a unix socket, when it connected. */
interface UnixPeer {
  readonly uid: number;
  /** Undefined if it stands for no particular group. */
  readonly gid: number | undefined;
  /** The supplementary groups. */
  readonly groups: readonly number[];
}

/** Who a client is, as far as it has proved. Plain data, made once for each connection or request. */
export interface Identity {
  readonly over: 'nbd' | 'http';
  /** The address is normal, see `normalAddress`. */
  readonly from: { readonly kind: 'tcp'; readonly address: string } | { readonly kind: 'unix' };
  readonly encrypted: boolean;
  readonly unix?: UnixPeer | undefined;
  /** Proven: the client has its key, and this server's authority has signed it. */
  readonly certificate?: CertificateFacts | undefined;
  /** The user whose key the client has. */
  readonly psk?: string | undefined;
  readonly token?: {
    readonly id: string;
    readonly rights: readonly Right[];
    /** Patterns. */
    readonly exports: readonly string[];
  };
  /** The control socket, stdio and the operator's own token may do everything. */
  readonly operator?: true;
}

/** Who gives commands on the control socket, or is the only client on stdin and stdout. */
export const operator: Identity = { over: 'nbd', from: { kind: 'unix' }, encrypted: false, operator: true };

/** The same client after it has proved more by TLS. */
export function proven(identity: Identity, { certificate, psk }: Pick<TlsProof, 'certificate' | 'psk'>): Identity {
  return { ...identity, certificate, psk, encrypted: true };
}

/** Whether the client is on this machine, as far as the connection tells. */
export function isLocal({ from }: Identity): boolean {
  return from.kind === 'unix' || isLoopback(from.address);
}

/** Whether the client has proved more than where it comes from. */
export function isProven({ certificate, psk, token, operator: isOperator }: Identity): boolean {
  return certificate !== undefined || psk !== undefined || token !== undefined || isOperator === true;
}

/** Who the client is, for the log: `CN=backup1 (10.0.0.7)`. */
export function describeIdentity({ from, unix, certificate, psk, token }: Identity): string {
  const place = from.kind === 'tcp' ? from.address : 'unix socket';
  if (token) return `token ${printable(token.id)} (${place})`;
  if (certificate) return `${printable(ownerOf(certificate))} (${place})`;
  if (psk !== undefined) return `the holder of the key of "${printable(psk)}" (${place})`;
  return unix ? `user ${unix.uid} (${place})` : place;
}

/** An address in one form: IPv4 addresses of a socket for both families as IPv4, and no name of an interface. */
export function normalAddress(remoteAddress: string): string {
  const [address = ''] = remoteAddress.split('%');
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}
