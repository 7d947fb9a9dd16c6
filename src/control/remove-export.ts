import { setImmediate as nextTurn } from 'node:timers/promises';
import { CodedError } from '../base/coded-error.js';
import { formatCount } from '../base/units.js';
import type { Export } from '../export/export.js';
import type { ControlHost } from './control-host.js';

/** A client that has just said goodbye is still there for a moment, and no reason to refuse anything. */
const GOODBYE_MILLISECONDS = 500;
const MAX_NAMED_CLIENTS = 5;

export interface Removal {
  /** How long clients may take to go by themselves, while new ones are refused; undefined: they are not waited for. */
  readonly drainSeconds: number | undefined;
  /** Abort the backups of the export, and disconnect the clients that are still there. */
  readonly force: boolean;
  /** Given when nobody waits for the removal any more. */
  readonly cancelled: AbortSignal;
}

/**
 * Serves an export no longer. It is not taken from clients or backups unless that is forced; when it is refused, everything
 * is as before. @throws CodedError EXPORT_NOT_FOUND, EXPORT_IN_USE, SHUTTING_DOWN; FLUSH_FAILED, STORE_UNUSABLE once it is gone
 */
export async function removeExport(host: ControlHost, name: string, removal: Removal): Promise<void> {
  const { exports, backups, events } = host;
  exports.get(name);
  const stay = await backups.leave(name, removal.force);
  try {
    const served = exports.get(name);
    const letIn = removal.drainSeconds === undefined ? () => {} : served.keepOut();
    try {
      await untilFree(served, removal);
      // Nothing comes between: it is taken from new clients within this call. It is gone, even if its disk cannot be flushed.
      await exports.remove(name).finally(() => events.publish({ type: 'export-removed', export: name }));
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
    // What has come in meanwhile is seen first, however late the timer was.
    if (served.connections.size > 0) await nextTurn();
  }
  served.assertServed();
  if (served.connections.size === 0) return;
  if (cancelled.aborted) {
    const what = `the server is stopping, and "${served.name}" still has clients`;
    throw new CodedError('SHUTTING_DOWN', what, 'remove it when the server is back');
  }
  if (!force) throw inUse(served);
}

/** Resolves when nobody is connected, after so many milliseconds, or when the signal is given. */
async function untilNobody(served: Export, milliseconds: number, cancelled: AbortSignal): Promise<void> {
  // Node 20 collects an AbortSignal.timeout of which only AbortSignal.any knows, and it is never given then.
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), milliseconds);
  try {
    await served.untilNobody(AbortSignal.any([late.signal, cancelled]));
  } finally {
    clearTimeout(timer);
  }
}

function inUse({ name, connections }: Export): CodedError {
  const clients = [...connections].map((connection) => connection.describe());
  const named = clients.slice(0, MAX_NAMED_CLIENTS).map(({ id, client }) => `${id} (${client})`);
  const more = clients.length > named.length ? ` and ${clients.length - named.length} more` : '';
  return new CodedError(
    'EXPORT_IN_USE',
    `"${name}" has ${formatCount(clients.length, 'client')}: ${named.join(', ')}${more}`,
    'stop them first, wait for them with --drain SECONDS, or disconnect them with --force',
  );
}
