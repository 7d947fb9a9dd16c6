import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto);

const KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
const DAY_MILLISECONDS = 24 * 3600 * 1000;

/** A day that many days from now. */
export const inDays = (days: number) => new Date(Date.now() + days * DAY_MILLISECONDS);

export interface CertificateWish {
  /** In the order of the certificate, the most general part first: `O=Example, CN=backup1`. */
  readonly subject: string;
  readonly purpose: 'server' | 'client';
  readonly hosts?: readonly { readonly type: 'dns' | 'ip' | 'email' | 'url'; readonly value: string }[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export interface Issued {
  readonly certificate: string;
  readonly key: string;
  readonly serial: string;
}

/** A certificate authority that makes what tests and the bench need. */
export class CertificateMaker {
  private serial = 1;

  private constructor(
    private readonly keys: webcrypto.CryptoKeyPair,
    private readonly own: x509.X509Certificate,
  ) {}

  static async create(name = 'tests'): Promise<CertificateMaker> {
    const keys = await newKeys();
    const own = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: '01',
      name: `CN=${name}`,
      notBefore: inDays(-10),
      notAfter: inDays(10),
      signingAlgorithm: SIGNING,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new CertificateMaker(keys, own);
  }

  get certificate(): string {
    return `${this.own.toString('pem')}\n`;
  }

  async issue({ subject, purpose, hosts = [], notBefore, notAfter }: CertificateWish): Promise<Issued> {
    const keys = await newKeys();
    const serial = (++this.serial).toString(16).padStart(2, '0').toUpperCase();
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial,
      subject,
      issuer: this.own.subject,
      notBefore: notBefore ?? inDays(-1),
      notAfter: notAfter ?? inDays(9),
      signingAlgorithm: SIGNING,
      signingKey: this.keys.privateKey,
      publicKey: keys.publicKey,
      extensions: [
        new x509.BasicConstraintsExtension(false),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[`${purpose}Auth`]]),
        ...(hosts.length > 0 ? [new x509.SubjectAlternativeNameExtension([...hosts])] : []),
        await x509.AuthorityKeyIdentifierExtension.create(this.keys.publicKey),
      ],
    });
    const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return {
      certificate: `${certificate.toString('pem')}\n`,
      key: `${x509.PemConverter.encode(key, 'PRIVATE KEY')}\n`,
      serial,
    };
  }

  /** A list of revoked certificates. */
  async revoke(serials: readonly string[], nextUpdate = inDays(9)): Promise<string> {
    const crl = await x509.X509CrlGenerator.create({
      issuer: this.own.subject,
      thisUpdate: inDays(-10),
      nextUpdate,
      entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: inDays(-2) })),
      signingAlgorithm: SIGNING,
      signingKey: this.keys.privateKey,
    });
    // The label of the library is one that OpenSSL does not know.
    return `${x509.PemConverter.encode(crl.rawData, 'X509 CRL')}\n`;
  }
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>;
}
