import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { printable } from '../base/printable.js';
import { factsOf } from '../tls/names.js';
import { readPskFile } from '../tls/psk-file.js';
import { firstUpdateOf } from '../tls/revocations.js';
import { readPublicFile, readSecretFile } from '../tls/secret-file.js';
import { tlsFileNames } from '../tls/tls-settings.js';
import { tryCertificate } from '../tls/try-certificate.js';
import { type Finding, fatal, missing, ok, warning } from './finding.js';

const DAY_MILLISECONDS = 24 * 3600 * 1000;
const WARN_DAYS = 30;
const WARN_LIST_DAYS = 7;
const LEAST_RSA_BITS = 2048;
const KEY_FILE = 'keys.psk';
const REPLACE_KEY = 'replace it and its certificate, because others may have it';

type Role = 'server' | 'client';

/** Checks a folder of certificates as servers and clients use it, or a file of keys. */
export async function probeTls(path: string): Promise<Finding[]> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return [fatal('folder', `${path} is missing`)];
  if (found.isFile()) return [await probeKeys(path)];
  const keys = join(path, KEY_FILE);
  const hasKeys = await isThere(keys);
  const isForKeysAlone = hasKeys && !(await isThere(join(path, tlsFileNames.ca)));
  return [...(isForKeysAlone ? [] : await probeFolder(path)), ...(hasKeys ? [await probeKeys(keys)] : [])];
}

async function probeKeys(path: string): Promise<Finding> {
  return await attempt(KEY_FILE, async () => {
    const users = [...(await readPskFile(path)).keys()];
    return ok(KEY_FILE, `keys of ${users.map((user) => `psk:${printable(user)}`).join(', ')}`);
  });
}

async function probeFolder(folder: string): Promise<Finding[]> {
  const { ca: caName, crl: crlName, server, client } = tlsFileNames;
  const ca = await text(join(folder, caName));
  const findings = [await attempt(caName, async () => probeAuthorities(await readPublicFile(join(folder, caName))))];
  const crl = await text(join(folder, crlName));
  if (crl !== undefined) findings.push(await attempt(crlName, () => probeList(crl)));
  const roles: Role[] = [];
  if (await isThere(join(folder, server.certificate))) roles.push('server');
  if (await isThere(join(folder, client.certificate))) roles.push('client');
  const trust = ca === undefined ? undefined : { ca, ...(crl !== undefined && { crl }) };
  for (const role of roles) findings.push(...(await probeRole(folder, role, trust)));
  if (roles.length === 0) findings.push(await probeLackOfCertificates(folder));
  return findings;
}

async function probeLackOfCertificates(folder: string): Promise<Finding> {
  const { server, client } = tlsFileNames;
  for (const { certificate, key } of [server, client]) {
    if (await isThere(join(folder, key))) return fatal(certificate, `it is missing: copy it here, beside ${key}`);
  }
  const effect = 'enough for a client, if the server wants no certificate from it';
  return missing('certificate', `there is no ${server.certificate} and no ${client.certificate}: ${effect}`);
}

function probeAuthorities(pem: string): Finding {
  const subject = tlsFileNames.ca;
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) return fatal(subject, 'it has no certificate in PEM');
  const authorities = blocks.map((block) => new X509Certificate(block));
  const other = authorities.find(({ ca }) => !ca);
  if (other) return fatal(subject, `${nameOf(other)} is not the certificate of an authority`);
  const findings = authorities.map((authority) => judgeDates(subject, authority, nameOf(authority)));
  return worstOf(findings, `${authorities.map(nameOf).join(', ')} until ${dayOf(firstEnd(authorities))}`);
}

async function probeList(crl: string): Promise<Finding> {
  const subject = tlsFileNames.crl;
  const until = await firstUpdateOf(crl);
  if (!until) return ok(subject, 'it does not go out of date');
  const days = daysTo(until);
  const when = `it has to be replaced by ${dayOf(until)}`;
  if (days < 0) return fatal(subject, `it was to be replaced by ${dayOf(until)}, and since then everybody is refused`);
  return days < WARN_LIST_DAYS ? warning(subject, `${when}: afterwards everybody is refused`) : ok(subject, when);
}

async function probeRole(
  folder: string,
  role: Role,
  trust: { readonly ca: string; readonly crl?: string } | undefined,
): Promise<Finding[]> {
  const names = tlsFileNames[role];
  let certificate: X509Certificate | undefined;
  let key: string | undefined;
  const pem = await text(join(folder, names.certificate));
  const findings = [
    await attempt(names.certificate, async () => {
      const content = await readPublicFile(join(folder, names.certificate));
      certificate = parse('certificate', () => new X509Certificate(content));
      return judgeCertificate(role, certificate);
    }),
    await attempt(names.key, async () => {
      const content = await readSecretFile(join(folder, names.key), REPLACE_KEY);
      const parsed = parse('private key', () => createPrivateKey(content));
      key = content;
      return judgeKey(role, parsed, certificate);
    }),
  ];
  if (!trust || !pem || key === undefined || findings.some(({ state }) => state === 'fatal')) return findings;
  return [...findings, await judgeTrust(role, { ...trust, certificate: pem, key })];
}

function judgeCertificate(role: Role, certificate: X509Certificate): Finding {
  const subject = tlsFileNames[role].certificate;
  const { commonName, dn, names } = factsOf(certificate);
  const rules = [
    ...(commonName === undefined ? [] : [`cn:${commonName}`]),
    ...(dn === '' ? [] : [`dn:${dn}`]),
    ...names.map((name) => `san:${name}`),
  ];
  const until = dayOf(new Date(certificate.validTo));
  const dates = judgeDates(subject, certificate, 'it');
  if (dates.state !== 'ok') return dates;
  if (role === 'client') return ok(subject, `${rules.map(printable).join(' ')}, until ${until}`);
  return names.length > 0
    ? ok(subject, `for ${names.map(printable).join(', ')}, until ${until}`)
    : warning(subject, 'it has no alternative names, and most clients look for the name of the server only there');
}

function judgeKey(role: Role, key: KeyObject, certificate: X509Certificate | undefined): Finding {
  const { certificate: certificateName, key: subject } = tlsFileNames[role];
  if (certificate && !certificate.checkPrivateKey(key)) {
    return fatal(subject, `it does not belong to ${certificateName}: copy both from where they were made together`);
  }
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {};
  if (modulusLength !== undefined && modulusLength < LEAST_RSA_BITS) {
    return fatal(subject, `${modulusLength} bits of RSA are too few: use ${LEAST_RSA_BITS} or more`);
  }
  return ok(subject, [key.asymmetricKeyType, namedCurve ?? modulusLength].filter(Boolean).join(' '));
}

/** What OpenSSL's objections mean. */
const objections: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'it, or its authority, has expired: renew it',
  CERT_NOT_YET_VALID: 'it, or its authority, is not valid yet: check the clock',
  CERT_REVOKED: 'it is revoked: make a new one',
  CRL_HAS_EXPIRED: `the list in ${tlsFileNames.crl} is out of date: get the current one`,
  CRL_SIGNATURE_FAILURE: `the list in ${tlsFileNames.crl} is not signed by the authority: get the authority's own`,
  INVALID_PURPOSE: 'its extended key usage does not allow it: make another one for this use',
  UNABLE_TO_GET_CRL: `${tlsFileNames.crl} has no list of the authority, and every authority in the chain needs one`,
};

async function judgeTrust(role: Role, files: Parameters<typeof tryCertificate>[1]): Promise<Finding> {
  const subject = `as a ${role}`;
  const code = await tryCertificate(role, files);
  const peer = role === 'server' ? 'clients' : 'servers';
  if (code === undefined) return ok(subject, `${peer} with the same ${tlsFileNames.ca} accept it`);
  const foreign = `it is not from the authority in ${tlsFileNames.ca} (${code}): put the certificate of its authority there`;
  return fatal(subject, `${peer} refuse it: ${objections[code] ?? foreign}`);
}

function judgeDates(subject: string, { validFrom, validTo }: X509Certificate, what: string): Finding {
  const [from, to] = [new Date(validFrom), new Date(validTo)];
  if (daysTo(to) < 0) return fatal(subject, `${what} expired on ${dayOf(to)}: make a new one`);
  if (daysTo(from) > 0) return fatal(subject, `${what} is not valid before ${dayOf(from)}: check the clock`);
  return daysTo(to) < WARN_DAYS ? warning(subject, `${what} expires on ${dayOf(to)}`) : ok(subject, '');
}

function worstOf(findings: readonly Finding[], detail: string): Finding {
  const bad = (['fatal', 'warning'] as const).map((state) => findings.find((one) => one.state === state));
  return bad.find((one) => one !== undefined) ?? ok(findings[0]!.subject, detail);
}

/** Throws a sentence in place of OpenSSL's code. */
function parse<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw new Error(`it is not a ${what} in PEM: copy it again, or make a new one`, { cause });
  }
}

/** Turns what cannot be read into a finding. */
async function attempt(subject: string, check: () => Promise<Finding>): Promise<Finding> {
  try {
    return await check();
  } catch (error) {
    const { message } = error as Error;
    return fatal(subject, error instanceof CodedError && error.hint ? `${message}: ${error.hint}` : message);
  }
}

async function text(path: string): Promise<string | undefined> {
  return await readPublicFile(path).catch(() => undefined);
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

const nameOf = (certificate: X509Certificate) => printable(factsOf(certificate).dn);
const firstEnd = (certificates: readonly X509Certificate[]) =>
  new Date(Math.min(...certificates.map(({ validTo }) => Date.parse(validTo))));
const daysTo = (date: Date) => (date.getTime() - Date.now()) / DAY_MILLISECONDS;
const dayOf = (date: Date) => date.toISOString().slice(0, 10);
