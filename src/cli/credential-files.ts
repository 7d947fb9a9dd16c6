import type { TlsFiles } from '../tls/tls-settings.js';

/** Files with what proves to another machine who this is. Each falls back to an environment variable. */
export interface CredentialFiles {
  readonly tlsCertificates?: string;
  readonly tlsPsk?: string;
  readonly tokenFile?: string;
}

/** Certificates and keys, from the command line or the environment. */
export function tlsFilesOf({ tlsCertificates, tlsPsk }: CredentialFiles): TlsFiles {
  return {
    certificates: tlsCertificates ?? fromEnvironment('TIDEMARK_TLS_CERTIFICATES'),
    psk: tlsPsk ?? fromEnvironment('TIDEMARK_TLS_PSK'),
  };
}

/** An empty variable counts as unset. */
export function fromEnvironment(name: string): string | undefined {
  return process.env[name] || undefined;
}
