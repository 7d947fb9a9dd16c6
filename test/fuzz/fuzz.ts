import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../support/random.js';
import { FuzzFailure } from './fuzz-failure.js';
import { type FuzzReport, FuzzRun } from './fuzz-run.js';
import { HandshakeTarget } from './handshake/target.js';
import { httpDisks } from './http/plan.js';
import { HttpTarget } from './http/target.js';
import { ClientTarget } from './local/client-target.js';
import { ManifestTarget } from './local/manifest-target.js';
import { Qcow2Target } from './local/qcow2-target.js';
import { randomBytes } from './odd-values.js';
import type { FuzzOptions } from './options.js';
import { Subject } from './subject.js';
import type { Target } from './target.js';
import { makeCredentials, tlsArguments } from './tls/credentials.js';
import { accessRules, vaultSpec, vaults } from './tls/sight.js';
import { TlsTarget } from './tls/target.js';
import { type FuzzDisk, fuzzDisks, imagePath, specOf } from './transmission/disks.js';
import { TransmissionTarget } from './transmission/target.js';

/** Disks up to this size are modelled to the last byte. */
const MAX_KNOWN_BYTES = 2 ** 24;

/** Starts a server and runs the targets against it. @throws FuzzFailure after writing a reproducer */
export async function fuzz(options: FuzzOptions, progress: (line: string) => void): Promise<FuzzReport> {
  progress(`fuzz: --seed ${options.seed}`);
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-fuzz-'));
  try {
    return await fuzzIn(folder, options, progress);
  } catch (error) {
    if (error instanceof FuzzFailure) {
      writeReproducer(error, options);
      progress(`see it again: npm run fuzz -- --replay ${options.reproducer}`);
    }
    throw error;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function fuzzIn(folder: string, options: FuzzOptions, progress: (line: string) => void): Promise<FuzzReport> {
  // The files that this process reads are in memory, because an image is changed for every message.
  const own = mkdtempSync('/dev/shm/tidemark-fuzz-');
  const pathOf = (disk: FuzzDisk) => imagePath(disk, folder, own);
  const contents = makeDisks(pathOf);
  const specs = [
    ...fuzzDisks.map((disk) => specOf(disk, pathOf(disk))),
    ...vaults.map((disk) => vaultSpec(disk, pathOf(disk))),
    ...httpDisks.map(httpSpec),
  ];
  const credentials = await makeCredentials(folder);
  const rules = accessRules.flatMap((rule) => ['--access', rule]);
  await using subject = await Subject.start(folder, specs, [...tlsArguments, ...rules]);
  const tls = new TlsTarget(subject, credentials, contents, pathOf);
  const { targets, close } = await makeTargets(own, subject, contents, tls, options.targets);
  try {
    return await new FuzzRun(subject, targets, options, progress).run();
  } finally {
    await close();
    rmSync(own, { recursive: true });
  }
}

const httpSpec = (name: string) => `${name}=${name}.img,size=1M,bitmap=nightly:4K`;

/** Read-only disks and vaults have some content. The others, and those too large to be modelled, are empty at first. */
function makeDisks(pathOf: (disk: FuzzDisk) => string): Map<string, Buffer> {
  const contents = new Map<string, Buffer>();
  for (const disk of [...fuzzDisks, ...vaults]) {
    const { name, sizeBytes, readOnly, fileBytes } = disk;
    const path = pathOf(disk);
    writeFileSync(path, '');
    truncateSync(path, fileBytes);
    if (sizeBytes > MAX_KNOWN_BYTES) continue;
    const content = Buffer.alloc(sizeBytes);
    if (readOnly || vaults.includes(disk)) {
      randomBytes(new Random(sizeBytes), fileBytes).copy(content);
      writeFileSync(path, content.subarray(0, fileBytes));
    }
    contents.set(name, content);
  }
  return contents;
}

async function makeTargets(
  own: string,
  subject: Subject,
  contents: ReadonlyMap<string, Buffer>,
  tls: TlsTarget,
  wanted: readonly string[],
): Promise<{ targets: Target[]; close: () => Promise<void> }> {
  const [client, qcow2] = [await ClientTarget.prepare(own), await Qcow2Target.prepare(own)];
  const all = [
    new HandshakeTarget(subject),
    tls,
    new TransmissionTarget(subject, contents),
    new HttpTarget(subject),
    client,
    qcow2,
    new ManifestTarget(own),
  ] as Target[];
  const unknown = wanted.find((name) => all.every((target) => target.name !== name));
  if (unknown !== undefined) throw new Error(`there is no target "${unknown}"`);
  const targets = all.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
  return { targets, close: async () => void (await Promise.all([client.close(), qcow2.close()])) };
}

function writeReproducer({ target, iteration, message }: FuzzFailure, { seed, reproducer }: FuzzOptions): void {
  const failure = { seed, target: target.split('+'), iteration, message };
  writeFileSync(reproducer, `${JSON.stringify(failure, null, 2)}\n`);
}
