import { Option } from '../../../src/protocol/constants.js';
import type { Random } from '../../support/random.js';
import { encodeOption, infoData } from '../../support/raw-client.js';
import { lastOptions, type PlannedOption, planOptions } from '../handshake/plan.js';
import { cutPoints, randomBytes } from '../odd-values.js';
import { intruders, type TlsClient } from './credentials.js';
import { guests, vaults } from './sight.js';

/** What happens to one of the client's TLS records. It sends no more after it. */
export interface Spoiler {
  /** Which record, counted from the ClientHello. */
  readonly record: number;
  readonly kind: 'change' | 'repeat' | 'before' | 'behind';
  /** For a record between or after the others. */
  readonly injected: Buffer;
  /** For the change. */
  readonly seed: number;
}

export interface TlsPlan {
  readonly client: TlsClient;
  readonly version: 'TLSv1.2' | 'TLSv1.3';
  /** What the client says before TLS. It is all that it says if TLS does not start. */
  readonly clear: readonly PlannedOption[];
  readonly clearCuts: readonly number[];
  /** `pushed`: something follows STARTTLS before its answer, as if from somebody in between. */
  readonly start: 'never' | 'pushed' | 'proper';
  readonly pushed: Buffer;
  readonly spoiler: Spoiler | undefined;
  readonly secured: readonly PlannedOption[];
  readonly securedCuts: readonly number[];
  /** For the requests, if the client may use the export that it has chosen. */
  readonly requestSeed: number;
}

const CLIENTS = 8;
/** Together with STARTTLS fewer than are answered in one handshake. */
const MAX_CLEAR = 5;
const MAX_OPTIONS = 20;
const MAX_RECORDS = 8;
const kinds = ['change', 'change', 'repeat', 'before', 'behind'] as const;
const vaultNames = vaults.map(({ name }) => name);
const names = ['', '', 'none', 'vault-5', 'Vault-1', 'vault-2@none', 'model', 'http-b', 'nul\0nul', ...vaultNames];

/** Several clients at the same time. */
export function planTls(random: Random): TlsPlan[] {
  return Array.from({ length: CLIENTS }, () => planClient(random));
}

function planClient(random: Random): TlsPlan {
  const start = random.pick(['never', 'pushed', 'proper', 'proper', 'proper', 'proper'] as const);
  const clear = planOptions(random, start === 'never' ? MAX_OPTIONS : MAX_CLEAR, nameOf);
  const before = start === 'never' ? clear : clear.filter(goesOn);
  const secured = planOptions(random, MAX_OPTIONS, nameOf);
  return {
    client: random.pick<TlsClient>(random.chance(5) ? intruders : guests),
    version: random.pick(['TLSv1.2', 'TLSv1.3']),
    clear: before,
    clearCuts: cutPoints(random, bytesOf(before)),
    start,
    pushed: planInjected(random),
    spoiler: random.chance(4) ? planSpoiler(random) : undefined,
    secured,
    securedCuts: cutPoints(random, bytesOf(secured)),
    requestSeed: random.below(2 ** 32),
  };
}

function planSpoiler(random: Random): Spoiler {
  const [record, kind] = [random.below(MAX_RECORDS), random.pick(kinds)];
  return { record, kind, injected: planInjected(random), seed: random.below(2 ** 32) };
}

/** Options in the clear, or the beginning of a record with anything in it. */
function planInjected(random: Random): Buffer {
  if (random.chance(3)) return encodeOption(Option.LIST);
  if (random.chance(2)) return encodeOption(Option.GO, infoData('vault-1'));
  const length = random.below(200);
  const type = random.pick([20, 21, 22, 23, 24, random.below(256)]);
  return Buffer.concat([Buffer.from([type, 3, random.below(5), 0, length]), randomBytes(random, length)]);
}

function nameOf(random: Random): string {
  return random.pick(random.chance(3) ? names : vaultNames);
}

/** Whether another option can follow. */
function goesOn({ option, endsWith }: PlannedOption): boolean {
  return endsWith !== undefined && !lastOptions.includes(option);
}

function bytesOf(options: readonly PlannedOption[]): number {
  return options.reduce((sum, { bytes }) => sum + bytes.length, 0);
}
