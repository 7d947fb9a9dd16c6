import { exportNameOf } from './export-folder.js';
import type { Manifest } from './manifest-format.js';
import { type Choice, choosePoints, whyNoneIsGood } from './retention/choose.js';
import { estimateBytes, planMerges, whyUnfit } from './retention/merges.js';
import type { RetentionPolicy } from './retention/policy.js';
import { readManifests } from './retention/read-manifests.js';

/** What a prune would do to one export. Times are in ISO 8601. */
export interface PreviewedExport {
  readonly export: string;
  /** Why it would be left unchanged, as far as the manifest says; null if it would not. */
  readonly problem: string | null;
  /** The oldest first. */
  readonly points: readonly {
    readonly id: string;
    readonly takenAt: string;
    readonly keep: boolean;
    /** Why it is kept, such as `daily 2026-11-27`. */
    readonly reasons: readonly string[];
  }[];
  /** The restore points that would be rewritten, because the image below them would be dropped. */
  readonly merges: readonly {
    readonly id: string;
    /** The restore point that it would lie on; null if it would become a full image. */
    readonly onto: string | null;
    /** Room that the new image takes, at most. The images that it replaces are removed when it is complete. */
    readonly estimatedBytes: number;
  }[];
}

/** Says what a prune would do, from the manifests only. Takes no lock, reads no image and changes nothing. */
export async function previewPrune(directory: string, policy: RetentionPolicy): Promise<PreviewedExport[]> {
  const { manifests, unread } = await readManifests(directory);
  const chosen = choosePoints(manifests, policy);
  const previews = [...manifests].map(([path, manifest]) => preview(manifest, chosen.get(path)!));
  const failed = unread.map(({ path, problem }) => ({ export: exportNameOf(path), problem, points: [], merges: [] }));
  return [...failed, ...previews].sort((one, other) => (one.export < other.export ? -1 : 1));
}

function preview({ export: exportName, images }: Manifest, choices: readonly Choice[]): PreviewedExport {
  const points = choices.map(({ image: { id, takenAt }, reasons }) => ({
    id,
    takenAt,
    keep: reasons.length > 0,
    reasons,
  }));
  const kept = new Set(points.filter(({ keep }) => keep).map(({ id }) => id));
  const planned = planMerges(images, kept);
  const problem = whyNoneIsGood(images) ?? planned.map(whyUnfit).find((why) => why !== undefined) ?? null;
  const merges = planned.map((merge) => {
    return { id: merge.image.id, onto: merge.onto?.id ?? null, estimatedBytes: estimateBytes(merge) };
  });
  return { export: exportName, problem, points, merges };
}
