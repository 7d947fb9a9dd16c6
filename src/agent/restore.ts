import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { TlsDefaults } from '../client/find-tls-files.js';
import { Qcow2Chain } from '../qcow2/chain.js';
import { Qcow2Error } from '../qcow2/image-file.js';
import { AgentError, isSystemError } from './agent-error.js';
import { ChainChecksums } from './chain-checksums.js';
import { type ChainCopyOptions, copyChain, startThreads } from './copy-chain.js';
import { currentImages, folderOf, hasImages, imagePath, listBackups } from './export-folder.js';
import { findDamage, findDamageWithoutData } from './inspect-image.js';
import { sayLosses } from './loss-observer.js';
import { needManifest, readManifest } from './manifest.js';
import { chainOf, restsOnWord } from './manifest-chain.js';
import type { ImageEntry } from './manifest-format.js';
import { openRestoreTarget } from './restore-target.js';
import type { RestoreTarget, TargetOptions } from './target-options.js';

export interface RestoreRequest extends ChainCopyOptions {
  readonly directory: string;
  readonly exportName: string;
  /** Undefined for the newest. */
  readonly at: string | undefined;
  /** A file, a block device, or an NBD URI. */
  readonly to: string;
  /** Overwrite an existing file or a device. */
  readonly force: boolean;
  readonly checkUnused?: TargetOptions['checkUnused'];
  /** Certificates and keys for a URI that asks for TLS and names none. */
  readonly tls?: TlsDefaults | undefined;
  /** Receives what the user should know, such as a lost connection. */
  readonly onNote?: ((text: string) => void) | undefined;
  /** Compare all images of the chain with their checksums. */
  readonly check: boolean;
}

export interface RestoreResult {
  readonly export: string;
  readonly id: string;
  readonly takenAt: string;
  readonly to: string;
  readonly sizeBytes: number;
  /** Whether this image, or one below it, depends on a base asserted with --since. */
  readonly baseAsserted: boolean;
}

/** Restores the disk as it was at a restore point. @throws AgentError, NbdClientError */
export async function restore(request: RestoreRequest): Promise<RestoreResult> {
  const { directory, exportName, to, force, signal } = request;
  const folder = folderOf(directory, exportName);
  const chain = await findChain(folder, request);
  const { id, takenAt, sizeBytes } = chain[0]!;
  const { checkUnused, tls, onNote } = request;
  const observer = onNote && sayLosses(onNote);
  const options = { sizeBytes, force, checkUnused, signal, tls, observer };
  const target = await openRestoreTarget(to, options).catch((error) => {
    throw describe(error, id, request);
  });
  try {
    await copyChecked(folder, chain, target, request);
    await target.finish();
    return { export: exportName, id, takenAt, to, sizeBytes, baseAsserted: restsOnWord(chain, chain[0]!) };
  } catch (error) {
    await target.discard();
    throw describe(error, id, request);
  }
}

/** The image of the restore point and all below it, from the top down. */
async function findChain(folder: string, { directory, exportName, at }: RestoreRequest): Promise<ImageEntry[]> {
  const manifest = await readManifest(folder);
  const images = manifest ? await currentImages(folder, manifest) : [];
  if (images.length === 0) {
    if (!manifest && (await hasImages(folder))) await needManifest(folder);
    // This throws a more precise error if the directory is missing or has no backups.
    await listBackups(directory);
    const hint = `tidemark verify ${directory} shows what is there`;
    throw new AgentError(`${directory} has no backup of "${exportName}"`, hint);
  }
  const top = at === undefined ? images.at(-1) : images.find(({ id }) => id === at);
  if (!top) {
    const hint = `it has ${images.map(({ id }) => id).join(', ')}`;
    throw new AgentError(`${directory} has no backup ${at} of "${exportName}"`, hint);
  }
  const { chain, missing } = chainOf(images, top);
  if (missing !== undefined) throw damaged(top.id, `${missing} is missing`);
  return chain;
}

/**
 * Copies the chain. What goes to a hidden target is checked while it is copied. A target that others see gets nothing
 * before all images are known to be good.
 */
async function copyChecked(
  folder: string,
  chain: readonly ImageEntry[],
  target: RestoreTarget,
  request: RestoreRequest,
): Promise<void> {
  const { check, signal } = request;
  await using threads = target.copyInThreads && startThreads(chain, request);
  const find = target.isHidden ? findDamageWithoutData : findDamage;
  const checked = check ? await checkChain(folder, chain, (...image) => find(...image, signal)) : undefined;
  await using disk = await Qcow2Chain.open(imagePath(folder, chain[0]!.id));
  const checksums = check && target.isHidden ? new ChainChecksums(disk) : undefined;
  await copyChain(disk, target, request, { threads, checksums });
  if (checked) await expectSameFiles(disk, checked);
  for (const image of chain) checksums?.expect(imagePath(folder, image.id), image);
}

/** Resolves to the states of the checked files, from the top down. */
async function checkChain(
  folder: string,
  chain: readonly ImageEntry[],
  find: (path: string, image: ImageEntry) => Promise<string | undefined>,
): Promise<FileState[]> {
  const checked: FileState[] = [];
  for (const image of chain) {
    const path = imagePath(folder, image.id);
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    const damage = await find(path, image);
    if (damage !== undefined || !found) throw damaged(chain[0]!.id, `${path}: ${damage ?? 'the file is missing'}`);
    checked.push(found);
  }
  return checked;
}

/** Identity, size and last change of a file. */
type FileState = Pick<BigIntStats, 'dev' | 'ino' | 'size' | 'mtimeNs'>;

/** Makes sure that the restored files are the checked ones, and have not changed since. */
async function expectSameFiles({ images }: Qcow2Chain, checked: readonly FileState[]): Promise<void> {
  for (const [i, { path, file }] of images.entries()) {
    const { dev, ino, size, mtimeNs } = await file.stat({ bigint: true });
    const before = checked[i];
    const isSame = before?.dev === dev && before.ino === ino && before.size === size && before.mtimeNs === mtimeNs;
    if (isSame) continue;
    throw new AgentError(`${path} was changed while it was being restored`, 'run it again');
  }
}

function damaged(id: string, why: string): AgentError {
  const hint =
    'tidemark verify shows which restore points are good; choose one with --at, or restore this one as it is with --unchecked';
  return new AgentError(`backup ${id} is not good: ${why}`, hint);
}

function describe(error: unknown, id: string, { to, signal }: RestoreRequest): unknown {
  if (signal.aborted) return new AgentError('interrupted: the restore is not complete', 'run it again');
  if (error instanceof Qcow2Error) return damaged(id, error.message);
  if (!isSystemError(error)) return error;
  if (error.code === 'ENOSPC')
    return new AgentError(`not enough space for ${to}`, 'free some space, or restore to another place', {
      cause: error,
    });
  return new AgentError(`cannot restore to ${to}: ${error.message}`, 'fix that, and run it again', { cause: error });
}
