import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError } from '../../../src/agent/agent-error.js';
import { currentImages } from '../../../src/agent/export-folder.js';
import { MANIFEST_NAME, readManifest } from '../../../src/agent/manifest.js';
import { chainOf } from '../../../src/agent/manifest-chain.js';
import { type ImageEntry, MANIFEST_FORMAT, type Manifest } from '../../../src/agent/manifest-format.js';
import type { Random } from '../../support/random.js';
import { mutate } from '../odd-values.js';
import { expectThat, type Target } from '../target.js';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const TEXTS_PER_ITERATION = 32;
const ODD: readonly Json[] = [
  ...[null, true, 0, -1, 1.5, 2 ** 53, 1e308, '', 'a', 'c', '..', '/etc', '\0', '\u001b[2J', [], [[]], {}],
  ...['z'.repeat(101), { id: 'a' }, '__proto__'],
];

const image = (id: string, base: string | null): ImageEntry => ({
  ...{
    id,
    base,
    mode: base === null ? 'full' : 'incremental',
    takenAt: '2026-01-01T00:00:00.000Z',
    durationSeconds: 1,
  },
  ...{ sizeBytes: 1, dirtyBytes: 1, readBytes: 1, dataBytes: 1, zeroBytes: 0, fileBytes: 1 },
  checksum: `xxh64-sum:${'0'.repeat(16)}`,
});
const SOUND: Manifest = {
  format: MANIFEST_FORMAT,
  export: 'vm1',
  images: [image('a', null), image('b', 'a'), image('c', 'b')],
  pending: image('d', 'c'),
  merging: { image: image('b', null), drops: ['a'] },
};

/** Manifests from anywhere. Each must be read or refused. */
export class ManifestTarget implements Target<readonly Buffer[]> {
  readonly name = 'manifests';
  readonly isLocal = true;

  constructor(private readonly folder: string) {}

  plan(random: Random): Buffer[] {
    return Array.from({ length: TEXTS_PER_ITERATION }, () => {
      const copy = structuredClone(SOUND) as unknown as Json;
      for (let changes = random.below(4); changes > 0; changes--) change(random, copy);
      const text = Buffer.from(JSON.stringify(copy));
      return random.chance(4) ? mutate(random, text) : text;
    });
  }

  async run(texts: readonly Buffer[]): Promise<number> {
    for (const text of texts) {
      await writeFile(join(this.folder, MANIFEST_NAME), text);
      const manifest = await readManifest(this.folder).catch((error: unknown) => {
        if (!(error instanceof AgentError)) throw error;
      });
      if (manifest) await this.use(manifest);
    }
    return texts.length;
  }

  /** Checks that an accepted manifest leads to no other folder and has no circle. */
  private async use(manifest: Manifest): Promise<void> {
    for (const entry of await currentImages(this.folder, manifest)) {
      const { chain } = chainOf(manifest.images, entry);
      expectThat(chain.length <= manifest.images.length + 1, () => `the chain of ${entry.id} has no end`);
      expectThat(!/[/\\\0]/.test(entry.id) && entry.id !== '..', () => `"${entry.id}" is the name of no file`);
    }
  }
}

/** Replaces one value by an odd one, removes it, or doubles it. */
function change(random: Random, root: Json): void {
  let at = root;
  for (;;) {
    if (at === null || typeof at !== 'object') return;
    const keys = Object.keys(at);
    if (keys.length === 0) return;
    const key = random.pick(keys);
    const inside = (at as Record<string, Json>)[key]!;
    if (typeof inside === 'object' && inside !== null && !random.chance(4)) {
      at = inside;
      continue;
    }
    const kind = random.below(3);
    if (kind === 0) delete (at as Record<string, Json>)[key];
    else if (kind === 1 && Array.isArray(at)) at.push(structuredClone(inside));
    else (at as Record<string, Json>)[key] = structuredClone(random.pick(ODD));
    return;
  }
}
