import type { Right } from '../access/rights.js';
import { type Action, type HeldWrites, MAX_MERGE_SOURCES } from '../api/transaction.js';
import { CodedError } from '../base/coded-error.js';
import { runGivingWay } from '../base/steps.js';
import type { BitmapSet } from '../bitmap/bitmap-set.js';
import { type BitmapAction, FailedStep, type TransactionStep, takingSteps } from '../bitmap/transaction.js';
import { changeAtOneInstant } from '../export/cut.js';
import type { Export } from '../export/export.js';
import type { QuietExport } from '../export/quiet-export.js';
import type { ControlHost } from './control-host.js';

interface ActionHost extends Pick<ControlHost, 'events'> {
  readonly exports: GetExport;
  /** Who asks. */
  readonly by?: string;
}

interface GetExport {
  /** @throws CodedError EXPORT_NOT_FOUND, FORBIDDEN */
  get(name: string, anyOf: readonly Right[]): Export;
}

/**
 * Applies either all actions, at one instant with respect to writes, or none. Returns how long writes were held back.
 * @throws FailedStep with the index of the refused action; CodedError FLUSH_FAILED, STORE_UNUSABLE, STORE_IN_DOUBT
 */
export async function runActions(host: ActionHost, actions: readonly Action[]): Promise<HeldWrites> {
  const exports = findExports(host.exports, actions);
  checkSources(actions);
  const { held } = await changeAtOneInstant(exports.values(), {
    apply: async (undos, instant) => {
      const inside = (name: string) => instant.get(exports.get(name)!);
      const steps = actions.map((action) => toStep(action, inside));
      undos.push(await runGivingWay(takingSteps(steps)));
    },
  });
  for (const name of exports.keys()) publish(host, name, actions);
  return held;
}

/** All exports that take part, by name. @throws FailedStep */
function findExports(registry: GetExport, actions: readonly Action[]): Map<string, Export> {
  const found = new Map<string, Export>();
  for (const [index, action] of actions.entries()) {
    try {
      found.set(action.export, registry.get(action.export, ['admin']));
      for (const name of sourcesOf(action)) found.set(name, registry.get(name, ['read', 'backup']));
    } catch (error) {
      throw new FailedStep(index, error);
    }
  }
  return found;
}

/** The other exports whose bitmaps are read. */
function sourcesOf(action: Action): string[] {
  const sources = action.type === 'bitmap-merge' ? action.sources : [];
  return sources.flatMap((source) => (typeof source === 'string' ? [] : [source.export]));
}

function checkSources(actions: readonly Action[]): void {
  let count = 0;
  for (const [index, action] of actions.entries()) {
    if (action.type === 'bitmap-merge') count += action.sources.length;
    if (count <= MAX_MERGE_SOURCES) continue;
    const what = `the merges of the transaction have more than ${MAX_MERGE_SOURCES} sources`;
    throw new FailedStep(index, new CodedError('BAD_REQUEST', what, 'split the transaction into several'));
  }
}

/** Applies one action. Throws its refusal itself, rather than a FailedStep. */
export async function runAction(host: ActionHost, action: Action): Promise<HeldWrites> {
  try {
    return await runActions(host, [action]);
  } catch (error) {
    throw error instanceof FailedStep ? error.cause : error;
  }
}

function toStep(action: Action, inside: (exportName: string) => QuietExport): TransactionStep {
  const { bitmaps, persistent } = inside(action.export);
  return { bitmaps, action: toBitmapAction(action, persistent, (name) => inside(name).bitmaps) };
}

function toBitmapAction(
  action: Action,
  canPersist: boolean,
  bitmapsOf: (exportName: string) => BitmapSet,
): BitmapAction {
  const { bitmap: name } = action;
  switch (action.type) {
    case 'bitmap-add': {
      const { granularityBytes, disabled = false, transient = false } = action;
      const granularity = granularityBytes === undefined ? {} : { granularityBytes };
      return { type: 'add', bitmap: { name, disabled, persistent: canPersist && !transient, ...granularity } };
    }
    case 'bitmap-merge': {
      const sources = action.sources.map((source) =>
        typeof source === 'string'
          ? { bitmaps: bitmapsOf(action.export), name: source }
          : { bitmaps: bitmapsOf(source.export), name: source.bitmap },
      );
      return { type: 'merge', target: name, sources };
    }
    case 'bitmap-remove':
      return { type: 'remove', name };
    case 'bitmap-clear':
      return { type: 'clear', name };
    case 'bitmap-enable':
      return { type: 'enable', name };
    case 'bitmap-disable':
      return { type: 'disable', name };
  }
}

function publish({ events, by }: ActionHost, exportName: string, actions: readonly Action[]): void {
  const own = actions.filter((action) => action.export === exportName);
  if (own.length === 0) return;
  events.publish({
    type: 'bitmaps-changed',
    export: exportName,
    actions: own.map(({ type, bitmap }) => ({ type, bitmap })),
    ...(by !== undefined && { by }),
  });
}
