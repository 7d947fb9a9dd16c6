import type { X509Certificate } from 'node:crypto';

/** What a certificate says about its owner. Proven only if the certificate is. */
export interface CertificateFacts {
  /** Undefined if there is none, or more than one. */
  readonly commonName?: string;
  /** The subject as in RFC 4514, the most special part first: `CN=backup1,O=Example`. Empty if it cannot be trusted. */
  readonly dn: string;
  /** The subject's alternative names: DNS names in lower case, and addresses, e-mail addresses and URIs as they are. */
  readonly names: readonly string[];
  /** In hexadecimal digits. */
  readonly serial: string;
}

/** A control character could make one name look like another in a log or a terminal. */
const CONTROL = /\p{Cc}/u;

/** How Node shows the kinds of alternative names that are text. */
const TEXT_KINDS: ReadonlySet<string> = new Set(['DNS', 'IP Address', 'email', 'URI']);

/** What it says. A subject with a control character in it counts as none. */
export function factsOf(certificate: X509Certificate): CertificateFacts {
  const { serialNumber: serial, subjectAltName = '' } = certificate;
  const names = namesOf(subjectAltName);
  const subject = certificate.toLegacyObject().subject as Readonly<Record<string, string | string[]>> | undefined;
  const values = Object.values(subject ?? {}).flat();
  if (values.some((value) => CONTROL.test(value))) return { dn: '', names, serial };
  const commonName = subject?.CN;
  return {
    ...(typeof commonName === 'string' && commonName !== '' && { commonName }),
    dn: dnOf(certificate.subject),
    names,
    serial,
  };
}

/** How to call its owner in a log. */
export function ownerOf({ dn, names }: CertificateFacts): string {
  return dn || names[0] || 'without a name';
}

/** Node puts each part on a line of its own, escaped as in RFC 2253, so that a line feed in a value makes no line. */
function dnOf(subject: string | undefined): string {
  return (subject ?? '').split('\n').reverse().join(',');
}

/** Node writes `DNS:a, IP Address:10.0.0.1`, and a value that could be misread as a JSON string. */
export function namesOf(text: string): string[] {
  const names: string[] = [];
  for (const [, kind, value] of text.matchAll(/(?:^|, )([^:",]+):("(?:[^"\\]|\\.)*"|[^,"]*)/g)) {
    if (!TEXT_KINDS.has(kind!)) continue;
    const name = value!.startsWith('"') ? (JSON.parse(value!) as string) : value!;
    if (name !== '' && !CONTROL.test(name)) names.push(kind === 'DNS' ? name.toLowerCase() : name);
  }
  return names;
}
