import { setImmediate as nextTurn } from 'node:timers/promises';
import { CodedError } from '../base/coded-error.js';
import { formatCount } from '../base/units.js';
import type { Export } from '../export/export.js';
import type { ControlHost } from './control-host.js';

/** A client that has just disconnected is still listed for a moment, and must not cause a refusal. */
const GOODBYE_MILLISECONDS = 500;
const MAX_NAMED_CLIENTS = 5;

export interface Removal {
  /** How long to wait for clients to leave, while new ones are refused. Undefined: do not wait. */
  readonly drainSeconds: number | undefined;
  /** Abort the backups of the export, and disconnect its remaining clients. */
  readonly force: boolean;
  /** Who asks for it. */
  readonly by: string;
  /** Aborted when nobody waits for the removal any more. */
  readonly cancelled: AbortSignal;
}

/**
 * Stops serving an export, also after a restart. Without `force`, an export that clients or backups use is not removed; a
 * refusal changes nothing. @throws CodedError EXPORT_NOT_FOUND, EXPORT_IN_USE, SHUTTING_DOWN, STORE_UNUSABLE; FLUSH_FAILED,
 * STORE_UNUSABLE after the export was removed
 */
export async function removeExport(
  { exports, kept, backups, events }: Pick<ControlHost, 'exports' | 'kept' | 'backups' | 'events'>,
  name: string,
  removal: Removal,
): Promise<void> {
  exports.get(name);
  const stay = await backups.leave(name, removal.force, removal.by);
  try {
    const served = exports.get(name);
    let letIn = removal.drainSeconds === undefined ? () => {} : served.keepOut();
    try {
      await untilFree(served, removal);
      // No client can connect in between, because none is let in any more before this call first waits.
      if (removal.drainSeconds === undefined) letIn = served.keepOut();
      await kept.forget(name);
      // The export is removed even if its disk cannot be flushed.
      await exports
        .remove(name)
        .finally(() => events.publish({ type: 'export-removed', export: name, by: removal.by }));
    } finally {
      letIn();
    }
  } finally {
    stay();
  }
}

async function untilFree(served: Export, { drainSeconds, force, cancelled }: Removal): Promise<void> {
  const patience = drainSeconds === undefined ? GOODBYE_MILLISECONDS : drainSeconds * 1000;
  if (!force || drainSeconds !== undefined) {
    await untilNobody(served, patience, cancelled);
    // Let a goodbye that has arrived meanwhile be handled first, even if the timer was late.
    if (served.clientCount > 0) await nextTurn();
  }
  served.assertServed();
  if (served.clientCount === 0) return;
  if (cancelled.aborted) {
    const what = `the server is stopping, and "${served.name}" still has clients`;
    throw new CodedError('SHUTTING_DOWN', what, 'remove it when the server is back');
  }
  if (!force) throw inUse(served);
}

/** Resolves when no client is connected, when the time is up, or when the signal is aborted. */
async function untilNobody(served: Export, milliseconds: number, cancelled: AbortSignal): Promise<void> {
  // Node 20 may garbage-collect an AbortSignal.timeout that only AbortSignal.any refers to. It would then never fire.
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), milliseconds);
  try {
    await served.untilNobody(AbortSignal.any([late.signal, cancelled]));
  } finally {
    clearTimeout(timer);
  }
}

function inUse(served: Export): CodedError {
  const clients = served.clients();
  const named = clients.slice(0, MAX_NAMED_CLIENTS).map(({ id, client }) => `${id} (${client})`);
  const more = clients.length > named.length ? ` and ${clients.length - named.length} more` : '';
  return new CodedError(
    'EXPORT_IN_USE',
    `"${served.name}" has ${formatCount(clients.length, 'client')}: ${named.join(', ')}${more}`,
    'stop them first, wait for them with --drain SECONDS, or disconnect them with --force',
  );
}
