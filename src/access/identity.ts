import type { TlsProof } from '../tls/door.js';
import type { CertificateFacts } from '../tls/names.js';

/** Who a client is, as far as it has proved. Made once for each connection or request. */
export interface Identity {
  readonly certificate?: CertificateFacts;
  /** The user whose key the client has. */
  readonly psk?: string;
  /** What the client sends and receives is encrypted. */
  readonly encrypted?: boolean;
  /** The control socket, stdio and the operator's own token: may do everything. */
  readonly operator?: true;
}

/** The same client after it has proved more by TLS. */
export function proven(identity: Identity, { certificate, psk }: Pick<TlsProof, 'certificate' | 'psk'>): Identity {
  return {
    ...identity,
    ...(certificate !== undefined && { certificate }),
    ...(psk !== undefined && { psk }),
    encrypted: true,
  };
}

export const operator: Identity = { operator: true };
