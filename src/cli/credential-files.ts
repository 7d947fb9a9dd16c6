/** Files with what proves to another machine who this is. Each falls back to an environment variable. */
export interface CredentialFiles {
  readonly tlsCertificates?: string;
  readonly tlsPsk?: string;
  readonly tokenFile?: string;
}
