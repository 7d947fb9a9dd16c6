import { Glob } from './glob.js';
import { type Identity, isLocal, isProven } from './identity.js';
import { Subnet } from './subnet.js';

/** Whom a rule is about. */
export interface Subject {
  matches(identity: Identity): boolean;
  /** Whether it is about clients on this machine, which have all rights until a rule is about them. */
  readonly isAboutLocal: boolean;
  /** Whether it says where a client comes from, rather than who it is. */
  readonly isPlace: boolean;
}

/** How a subject is written, for messages. */
export const SUBJECTS =
  'cn:NAME, dn:DN, san:NAME, psk:USER, address:ADDRESS[/BITS], user:NAME, group:NAME, local or any';

/** Numbers of users and groups by name. Undefined: there is none. */
export interface Accounts {
  uidOf(name: string): number | undefined;
  gidOf(name: string): number | undefined;
}

type Parse = (value: string, accounts: Accounts) => Subject | undefined;

/** By kind. Each is followed by a colon and its value. */
const kinds: Readonly<Record<string, Parse>> = {
  cn: (value) => named(value, ({ certificate }) => [certificate?.commonName]),
  dn: (value) => named(value, ({ certificate }) => [certificate?.dn]),
  san: (value) => named(isHostName(value) ? value.toLowerCase() : value, ({ certificate }) => certificate?.names ?? []),
  psk: (value) => named(value, ({ psk }) => [psk]),
  address: (value) => {
    const subnet = Subnet.parse(value);
    return subnet && place(({ from }) => from.kind === 'tcp' && subnet.has(from.address), subnet.isLoopback);
  },
  user: (value, { uidOf }) => {
    const uid = numberOf(value, uidOf);
    return uid === undefined ? undefined : local(({ unix }) => unix?.uid === uid);
  },
  group: (value, { gidOf }) => {
    const gid = numberOf(value, gidOf);
    return gid === undefined
      ? undefined
      : local(({ unix }) => unix?.gid === gid || unix?.groups.includes(gid) === true);
  },
};

/** Whether the text is written like a subject, whatever users and groups there are. */
export function isSubject(text: string): boolean {
  return parseSubject(text, { uidOf: () => 0, gidOf: () => 0 }) !== undefined;
}

/** Undefined if the text is no subject, or names an unknown user or group. */
export function parseSubject(text: string, accounts: Accounts): Subject | undefined {
  if (text === 'local') return local(isLocal);
  if (text === 'any') return { matches: isProven, isAboutLocal: false, isPlace: false };
  const colon = text.indexOf(':');
  const [kind, value] = [text.slice(0, colon), text.slice(colon + 1)];
  return colon > 0 && value !== '' && Object.hasOwn(kinds, kind) ? kinds[kind]!(value, accounts) : undefined;
}

function named(pattern: string, namesOf: (identity: Identity) => readonly (string | undefined)[]): Subject {
  const glob = new Glob(pattern);
  const matches = (identity: Identity) => namesOf(identity).some((name) => name !== undefined && glob.matches(name));
  return { matches, isAboutLocal: false, isPlace: false };
}

function place(matches: Subject['matches'], isAboutLocal: boolean): Subject {
  return { matches, isAboutLocal, isPlace: true };
}

function local(matches: Subject['matches']): Subject {
  return { matches, isAboutLocal: true, isPlace: false };
}

/** Names of hosts are the same in upper and lower case; e-mail addresses and URIs are not. */
function isHostName(pattern: string): boolean {
  return !/[@:/]/.test(pattern);
}

function numberOf(text: string, find: (name: string) => number | undefined): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : find(text);
}
