import type { Event } from '../api/event.js';
import { formatCount } from '../base/units.js';
import { formatSpan } from './format.js';

/** An event as a sentence. Events that this page does not know are shown with what they say of themselves. */
export function sentenceOf(event: Event): string {
  const { type, backup, reason, detail, percent, by } = event;
  const disks = event.export ?? event.exports?.join(', ') ?? '';
  const sentences: Record<string, () => string> = {
    'server-started': () => `The server started with ${formatCount(event.exportCount ?? 0, 'export')}`,
    'server-stopping': () => 'The server is stopping',
    'export-added': () => `${disks} is served now`,
    'export-removed': () => `${disks} is not served any more`,
    'export-resized': () => `${disks} has another size`,
    'bitmaps-changed': () => `Bitmaps of ${disks} changed: ${actionsOf(event)}`,
    'backup-begun': () => `The backup ${backup} of ${disks} began${partsOf(event)}`,
    'backup-committed': () => `The backup ${backup} of ${disks} was committed${spanOf(event)}`,
    'backup-aborted': () => `The backup ${backup} of ${disks} was aborted${spanOf(event)}: ${detail ?? reason}`,
    'backup-scratch-filling': () => `The scratch space of the backup ${backup} is ${percent} % full`,
    'config-reloaded': () => 'The configuration was read again and applied',
    'config-refused': () => `The configuration was read again and refused: ${detail ?? 'see the log'}`,
    'threshold-crossed': () => `The threshold ${event.threshold}${disks && ` for ${disks}`} was crossed`,
    'threshold-cleared': () => `The threshold ${event.threshold}${disks && ` for ${disks}`} is not crossed any more`,
    'hook-failed': () => `The hook ${event.hook} could not be told of event ${event.about}: ${detail}`,
  };
  const known = sentences[type]?.() ?? [type, disks, backup, detail ?? reason].filter(Boolean).join(' · ');
  return by === undefined ? known : `${known} (${by})`;
}

function actionsOf({ actions = [] }: Event): string {
  return actions.map(({ type, bitmap }) => `${type.replace(/^bitmap-/, '')} ${bitmap}`).join(', ');
}

function partsOf({ parts = [] }: Event): string {
  const full = parts.filter(({ mode }) => mode === 'full');
  if (full.length === 0) return '';
  const reasons = full.map((part) => `${part.export} is read in full: ${part.fullReason?.detail ?? 'unknown'}`);
  return `; ${reasons.join('; ')}`;
}

function spanOf({ seconds }: Event): string {
  return seconds === undefined ? '' : ` after ${formatSpan(1000 * seconds)}`;
}
