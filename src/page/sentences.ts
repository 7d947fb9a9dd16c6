import type { SeenEvent } from './event-stream.js';

/** An event as a sentence. Events that this page does not know are shown with what they say of themselves. */
export function sentenceOf(event: SeenEvent): string {
  const { type, backup, reason, percent, actions, by } = event;
  const disks = event.export ?? event.exports?.join(', ') ?? '';
  const sentences: Record<string, string> = {
    'export-added': `${disks} is served now`,
    'export-removed': `${disks} is not served any more`,
    'export-resized': `${disks} has another size`,
    'bitmaps-changed': `Bitmaps of ${disks} changed: ${(actions ?? []).map(inWords).join(', ')}`,
    'backup-begun': `The backup ${backup} of ${disks} began`,
    'backup-committed': `The backup ${backup} of ${disks} was committed`,
    'backup-aborted': `The backup ${backup} of ${disks} was aborted: ${reason}`,
    'backup-scratch-filling': `The scratch space of the backup ${backup} is ${percent} % full`,
  };
  const known = sentences[type] ?? [type, disks, backup, reason].filter(Boolean).join(' · ');
  return by === undefined ? known : `${known}, by ${by}`;
}

function inWords({ type, bitmap }: { readonly type: string; readonly bitmap: string }): string {
  return `${type.replace(/^bitmap-/, '')} ${bitmap}`;
}
