import type { X509Certificate } from 'node:crypto';
import { factsOf, ownerOf } from './names.js';

/** A client that did not get through the TLS handshake. */
export interface TlsRefusal {
  /** Why, for the log. The client is not told. */
  readonly refused: string;
  /** OpenSSL's or Node's code. */
  readonly code: string;
}

/** What becomes of a certificate, by OpenSSL's code. */
const certificateRefusals: Readonly<Record<string, (certificate: X509Certificate) => string>> = {
  CERT_HAS_EXPIRED: ({ validTo }) => `expired on ${validTo}`,
  CERT_NOT_YET_VALID: ({ validFrom }) => `is not valid before ${validFrom}`,
  CERT_REVOKED: ({ serialNumber }) => `(serial ${serialNumber}) is revoked`,
  INVALID_PURPOSE: () => 'is not for clients',
  UNABLE_TO_GET_CRL: () => 'cannot be checked: ca-crl.pem has no list of its authority',
  CRL_HAS_EXPIRED: () => 'cannot be checked: the list in ca-crl.pem is out of date',
};

/** What went wrong in the handshake, by the code of Node's error. */
const handshakeRefusals: Readonly<Record<string, string>> = {
  ERR_SSL_WRONG_VERSION_NUMBER: 'the client did not speak TLS',
  ERR_SSL_HTTP_REQUEST: 'the client did not speak TLS',
  ERR_SSL_HTTPS_PROXY_REQUEST: 'the client did not speak TLS',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the client offers only TLS versions below 1.2',
  ERR_SSL_NO_SHARED_CIPHER: 'the client offers no cipher that this server uses',
  ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM: 'the client offers no key, and this server has no certificate',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'the client did not finish the handshake in time',
  ECONNRESET: 'the client closed the connection in the middle of the handshake',
};

/** What a wrong key looks like, in TLS 1.3 and in 1.2. */
const wrongKey: ReadonlySet<string> = new Set([
  'ERR_SSL_BINDER_DOES_NOT_VERIFY',
  'ERR_SSL_CIPHER_OPERATION_FAILED',
  'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC',
]);

export function refuseCertificate(certificate: X509Certificate, code: string): TlsRefusal {
  const why = certificateRefusals[code]?.(certificate) ?? "is not from this server's authority";
  return { refused: `the certificate ${ownerOf(factsOf(certificate))} ${why}`, code };
}

/** A user for whom the client has sent a key, or tried to. */
export interface AskedUser {
  readonly user: string;
  readonly isKnown: boolean;
}

export function refuseHandshake(error: Error & { readonly code?: string }, asked: AskedUser | undefined): TlsRefusal {
  const code = error.code ?? 'UNKNOWN';
  if (asked && wrongKey.has(code)) {
    const { user, isKnown } = asked;
    return { refused: isKnown ? `the key of "${user}" is wrong` : `there is no key for "${user}"`, code };
  }
  return { refused: handshakeRefusals[code] ?? error.message, code };
}
