import type { PeerCertificate } from 'node:tls';
import { printable } from '../base/printable.js';
import { namesOf } from './names.js';

/** Why a client gives a server up. */
export interface ServerFault {
  /** A sentence without a full stop. */
  readonly problem: string;
  readonly hint: string;
}

const WHICH_AUTHORITY =
  'put the certificate of its authority into ca-cert.pem of the folder given with --tls-certificates';
const foreign: ServerFault = {
  problem: 'the certificate of the server is not from an authority that this client trusts',
  hint: WHICH_AUTHORITY,
};
const noRevocationList: ServerFault = {
  problem: 'the revocation list ca-crl.pem of this client does not fit the authority of the server, or is out of date',
  hint: 'get a new one from the authority, or remove it',
};
const refused: ServerFault = {
  problem: 'the server did not accept the certificate of this client',
  hint: 'its log says why; tidemark doctor --tls checks certificates',
};
const noCertificate: ServerFault = {
  problem: 'the server wants a certificate from this client',
  hint: 'put client-cert.pem and client-key.pem into the folder given with --tls-certificates',
};
const wrongKey: ServerFault = {
  problem: 'the server does not know the user or has another key for it',
  hint: 'give the key that the server has for the user, with --tls-psk',
};
const notTls: ServerFault = {
  problem: 'the server did not answer in TLS',
  hint: 'make sure that no other program answers on its address',
};
const nothingInCommon: ServerFault = {
  problem: 'the server and this client have no way of TLS in common',
  hint: 'a server with keys needs --tls-psk, and one with certificates --tls-certificates; TLS 1.2 is the oldest',
};

/** By the codes of X.509 checks, of OpenSSL, and of the alerts that a server sends. */
const faults: Readonly<Record<string, ServerFault>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: foreign,
  SELF_SIGNED_CERT_IN_CHAIN: foreign,
  UNABLE_TO_GET_ISSUER_CERT: foreign,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: foreign,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: foreign,
  CERT_SIGNATURE_FAILURE: foreign,
  CERT_HAS_EXPIRED: { problem: 'the certificate of the server has expired', hint: 'renew it on the server' },
  CERT_NOT_YET_VALID: {
    problem: 'the certificate of the server is not valid yet',
    hint: 'compare the clocks of both machines',
  },
  CERT_REVOKED: { problem: 'the certificate of the server has been revoked', hint: 'give the server a new one' },
  INVALID_PURPOSE: { problem: 'the certificate of the server is not for servers', hint: 'give the server another one' },
  UNABLE_TO_GET_CRL: noRevocationList,
  CRL_HAS_EXPIRED: noRevocationList,
  CRL_NOT_YET_VALID: noRevocationList,
  CRL_SIGNATURE_FAILURE: noRevocationList,
  KEY_NOT_USED: {
    problem: 'the server did not use the key',
    hint: 'a server with certificates needs --tls-certificates',
  },
  ERR_SSL_WRONG_VERSION_NUMBER: notTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: notTls,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: refused,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: refused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: refused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED: refused,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: refused,
  ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: refused,
  ERR_SSL_TLSV1_ALERT_ACCESS_DENIED: refused,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: noCertificate,
  ERR_SSL_SSLV3_ALERT_ILLEGAL_PARAMETER: wrongKey,
  ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC: wrongKey,
  ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR: wrongKey,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY: wrongKey,
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: nothingInCommon,
  ERR_SSL_TLSV1_ALERT_INSUFFICIENT_SECURITY: nothingInCommon,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: nothingInCommon,
  ERR_SSL_UNSUPPORTED_PROTOCOL: nothingInCommon,
};

/** Undefined for a connection that was only lost. */
export function describeServerFault(error: NodeJS.ErrnoException, hostname?: string): ServerFault | undefined {
  const { code = '' } = error;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return wrongName(hostname ?? '', error);
  const fault = faults[code];
  if (fault) return fault;
  return code.startsWith('ERR_SSL_')
    ? { problem: `TLS failed: ${code}`, hint: 'the log of the server may say why' }
    : undefined;
}

function wrongName(hostname: string, { cert }: Error & { cert?: PeerCertificate }): ServerFault {
  const names = namesOf(cert?.subjectaltname ?? '');
  const insteadOf = names.length > 0 ? `, but for ${names.map(printable).join(', ')}` : '';
  return {
    problem: `the certificate of the server is not for "${hostname}"${insteadOf}`,
    hint: 'connect by a name in the certificate; the URI of an NBD server can add tls-hostname=NAME instead',
  };
}
