import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import { CodedError } from '../../base/coded-error.js';

x509.cryptoProvider.set(webcrypto);

type KeyPair = webcrypto.CryptoKeyPair;

const KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
const SERIAL_BYTES = 16;
const DAY_MILLISECONDS = 24 * 3600 * 1000;
/** The clock of another machine may be a little behind. */
const CLOCK_MILLISECONDS = 3600 * 1000;
const AUTHORITY_DAYS = 3650;

/** A certificate and its key, as PEM. */
export interface Issued {
  readonly certificate: string;
  readonly key: string;
}

export interface Request {
  readonly commonName: string;
  readonly purpose: 'server' | 'client';
  /** Names and addresses of a server. */
  readonly hosts: readonly string[];
  readonly days: number;
}

/** A small certificate authority. */
export class Authority {
  private constructor(
    private readonly own: x509.X509Certificate,
    private readonly privateKey: webcrypto.CryptoKey,
  ) {}

  static async create(): Promise<Authority> {
    const keys = await newKeys();
    const own = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: newSerial(),
      // Two authorities of one name would be mistaken for each other.
      name: `CN=tidemark authority ${randomBytes(4).toString('hex')}`,
      ...validFor(AUTHORITY_DAYS),
      signingAlgorithm: SIGNING,
      keys: keys as Parameters<typeof x509.X509CertificateGenerator.createSelfSigned>[0]['keys'],
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new Authority(own, keys.privateKey);
  }

  /** @throws CodedError TLS_UNUSABLE */
  static async load({ certificate, key }: Issued): Promise<Authority> {
    try {
      const der = x509.PemConverter.decodeFirst(key);
      const privateKey = await webcrypto.subtle.importKey('pkcs8', der, KEY, false, ['sign']);
      return new Authority(new x509.X509Certificate(certificate), privateKey);
    } catch (cause) {
      const what = `the authority cannot be used: ${(cause as Error).message}`;
      throw new CodedError('TLS_UNUSABLE', what, 'give another folder, to make a new one', { cause });
    }
  }

  get certificate(): string {
    return pemOf(this.own);
  }

  exportKey(): Promise<string> {
    return exportKey(this.privateKey);
  }

  async issue({ commonName, purpose, hosts, days }: Request): Promise<Issued> {
    const keys = await newKeys();
    const names = hosts.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value }));
    const { notBefore, notAfter } = validFor(days);
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: newSerial(),
      subject: `CN=${commonName}`,
      issuer: this.own.subject,
      notBefore,
      notAfter: new Date(Math.min(notAfter.getTime(), this.own.notAfter.getTime())),
      signingAlgorithm: SIGNING,
      signingKey: this.privateKey,
      publicKey: keys.publicKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[`${purpose}Auth`]]),
        ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
        await x509.AuthorityKeyIdentifierExtension.create(this.own.publicKey),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return { certificate: pemOf(certificate), key: await exportKey(keys.privateKey) };
  }
}

function newKeys(): Promise<KeyPair> {
  return webcrypto.subtle.generateKey(KEY, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}

/** Positive, and not empty when leading zeroes are left out. */
function newSerial(): string {
  return Buffer.concat([Buffer.from([0x40]), randomBytes(SERIAL_BYTES - 1)]).toString('hex');
}

function validFor(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - CLOCK_MILLISECONDS), notAfter: new Date(now + days * DAY_MILLISECONDS) };
}

function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}
