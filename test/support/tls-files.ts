import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CertificateMaker, type CertificateWish, type Issued } from './certificate-maker.js';
import { scratchFolder } from './scratch-folder.js';

export { type CertificateWish, type Issued, inDays } from './certificate-maker.js';

/** A certificate authority whose files end with the test. */
export class TestAuthority {
  private constructor(private readonly maker: CertificateMaker) {}

  static async create(name?: string): Promise<TestAuthority> {
    return new TestAuthority(await CertificateMaker.create(name));
  }

  get certificate(): string {
    return this.maker.certificate;
  }

  issue(wish: CertificateWish): Promise<Issued> {
    return this.maker.issue(wish);
  }

  revoke(serials: readonly string[], nextUpdate?: Date): Promise<string> {
    return this.maker.revoke(serials, nextUpdate);
  }

  /** A folder with the files of a server for `localhost`. */
  async serverFolder(wish: Partial<CertificateWish> = {}): Promise<string> {
    const hosts = [
      { type: 'dns', value: 'localhost' },
      { type: 'ip', value: '127.0.0.1' },
    ] as const;
    const issued = await this.issue({ subject: 'CN=localhost', purpose: 'server', hosts, ...wish });
    return writeFolder({ 'ca-cert.pem': this.certificate, ...named('server', issued) });
  }

  /** A folder with the files of a client with this subject. */
  async clientFolder(subject: string, wish: Partial<CertificateWish> = {}): Promise<string> {
    const issued = await this.issue({ subject, purpose: 'client', ...wish });
    return writeFolder({ 'ca-cert.pem': this.certificate, ...named('client', issued) });
  }
}

/** A file of keys as psktool writes it. */
export function pskFile(keys: Readonly<Record<string, string>>): string {
  const lines = Object.entries(keys).map(([user, key]) => `${user}:${key}\n`);
  return join(writeFolder({ 'keys.psk': lines.join('') }), 'keys.psk');
}

/** A new folder with these files, which only their owner can read. */
export function writeFolder(files: Readonly<Record<string, string>>): string {
  const folder = scratchFolder();
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(folder, name), content);
    chmodSync(join(folder, name), 0o600);
  }
  return folder;
}

function named(role: 'server' | 'client', { certificate, key }: Issued): Record<string, string> {
  return { [`${role}-cert.pem`]: certificate, [`${role}-key.pem`]: key };
}
