import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Qcow2Chain } from '../qcow2/chain.js';
import { Qcow2Error } from '../qcow2/qcow2-error.js';
import { AgentError, isSystemError } from './agent-error.js';
import { type ChainCopyOptions, copyChain } from './copy-chain.js';
import { currentImages, folderOf, hasImages, imagePath, listBackups } from './export-folder.js';
import { findDamage } from './inspect-image.js';
import { needManifest, readManifest } from './manifest.js';
import { chainOf, restsOnWord } from './manifest-chain.js';
import type { ImageEntry } from './manifest-format.js';
import { openRestoreTarget, type TargetOptions } from './restore-target.js';

export interface RestoreRequest extends ChainCopyOptions {
  readonly directory: string;
  readonly exportName: string;
  /** Undefined: the newest. */
  readonly at: string | undefined;
  /** A file, a block device, or an NBD URI. */
  readonly to: string;
  /** Overwrite what is there. */
  readonly force: boolean;
  readonly checkUnused?: TargetOptions['checkUnused'];
  /** Read all images of the chain first, to be sure of them. */
  readonly check: boolean;
}

export interface RestoreResult {
  readonly export: string;
  readonly id: string;
  readonly takenAt: string;
  readonly to: string;
  readonly sizeBytes: number;
  /** Whether it rests on the word of --since, its own or that of an image below it. */
  readonly baseAsserted: boolean;
}

/** Writes the disk as it was at a restore point. @throws AgentError, NbdClientError */
export async function restore(request: RestoreRequest): Promise<RestoreResult> {
  const { directory, exportName, to, force, signal } = request;
  const folder = folderOf(directory, exportName);
  const chain = await findChain(folder, request);
  const { id, takenAt, sizeBytes } = chain[0]!;
  const { checkUnused } = request;
  const target = await openRestoreTarget(to, { sizeBytes, force, checkUnused, signal }).catch((error) => {
    throw describe(error, id, request);
  });
  try {
    const checked = request.check ? await checkChain(folder, chain, signal) : undefined;
    await using disk = await Qcow2Chain.open(imagePath(folder, id));
    await copyChain(disk, target, request);
    if (checked) await expectSameFiles(disk, checked);
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
    // A directory that is not there, or holds nothing at all, is called that.
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

/** Resolves to what the files are that were checked, from the top down. */
async function checkChain(folder: string, chain: readonly ImageEntry[], signal: AbortSignal): Promise<FileState[]> {
  const checked: FileState[] = [];
  for (const image of chain) {
    const path = imagePath(folder, image.id);
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    const damage = await findDamage(path, image, signal);
    if (damage !== undefined || !found) throw damaged(chain[0]!.id, `${path}: ${damage ?? 'the file is missing'}`);
    checked.push(found);
  }
  return checked;
}

/** A file, and when its data was changed last. */
type FileState = Pick<BigIntStats, 'dev' | 'ino' | 'size' | 'mtimeNs'>;

/** What was restored comes from the files that were checked, and nobody has changed them since. */
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
  const hint = 'tidemark verify shows which restore points are good; --at takes one, and --unchecked this one as it is';
  return new AgentError(`backup ${id} is not good: ${why}`, hint);
}

function describe(error: unknown, id: string, { to, signal }: RestoreRequest): unknown {
  if (signal.aborted) return new AgentError('interrupted: the restore is not complete', 'run it again');
  if (error instanceof Qcow2Error) return damaged(id, error.message);
  if (!isSystemError(error)) return error;
  if (error.code === 'ENOSPC') return new AgentError(`there is no room for ${to}`, 'make room', { cause: error });
  return new AgentError(`cannot restore to ${to}: ${error.message}`, 'mend that, and run it again', { cause: error });
}
