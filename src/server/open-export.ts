import { resolve } from 'node:path';
import type { ExportSpec } from '../api/export.js';
import { Turnstile } from '../base/turnstile.js';
import { storeTogether } from '../bitmap/store/opening.js';
import { namesByDisk } from '../bitmap/store/stored-exports.js';
import type { Export } from '../export/export.js';
import type { ExportSource } from './image-places.js';
import { type ExportHost, type PreparedExport, prepareExport, type Together } from './prepare-export.js';

/** Opens one export. @throws as `openExports` */
export async function openExport(spec: ExportSpec, host: ExportHost, source: ExportSource = 'api'): Promise<Export> {
  const [opened] = await openExports([spec], host, source, new Turnstile(1));
  return opened!;
}

/**
 * Opens the images of all these exports and loads their bitmaps, then stores the result of all in one commit. If one
 * fails, all are closed again, and the store is as before. @throws CodedError of the first that fails: IMAGE_UNUSABLE,
 * IMAGE_LOCKED, IMAGE_NOT_RAW, EXPORT_INVALID, BITMAP_INVALID, STORE_UNUSABLE
 */
export async function openExports(
  specs: readonly ExportSpec[],
  host: ExportHost,
  source: ExportSource,
  places: Turnstile,
): Promise<Export[]> {
  const own = host.places?.ownFiles();
  const together: Together = {
    known: host.store && namesByDisk(host.store),
    guard: host.places && ((path) => host.places!.guard(path, source, own)),
    claiming: new Turnstile(1),
  };
  const prepared = await prepareAll(specs, (spec) => prepareExport(spec, host, together), places);
  try {
    const openings = prepared.flatMap(({ opening }) => opening ?? []);
    if (host.store) await storeTogether(openings, host.store);
  } catch (error) {
    await abandon(prepared);
    throw error;
  }
  return prepared.map(({ serve }) => serve());
}

/** Prepares all or none, as many at a time as there are places. Begins none after one has failed. */
async function prepareAll(
  specs: readonly ExportSpec[],
  prepare: (spec: ExportSpec) => Promise<PreparedExport>,
  places: Turnstile,
): Promise<PreparedExport[]> {
  const byPath = new Map<string, Promise<unknown>>();
  let hasFailed = false;
  const prepareNext = async (spec: ExportSpec, earlier: Promise<unknown> | undefined) => {
    // If both have to create the image, the second one has to find it.
    await earlier?.catch(() => {});
    return prepare(spec);
  };
  const results = await Promise.allSettled(
    specs.map((spec) => {
      const path = resolve(spec.path);
      const earlier = byPath.get(path);
      const result = places.pass(async () => (hasFailed ? undefined : prepareNext(spec, earlier)));
      result.catch(() => {
        hasFailed = true;
      });
      byPath.set(path, result);
      return result;
    }),
  );
  const prepared = results.flatMap((result) => (result.status === 'fulfilled' ? (result.value ?? []) : []));
  const failed = results.find((result) => result.status === 'rejected');
  if (!failed) return prepared;
  await abandon(prepared);
  throw failed.reason;
}

async function abandon(prepared: readonly PreparedExport[]): Promise<void> {
  await Promise.allSettled(prepared.map((one) => one.abandon()));
}
