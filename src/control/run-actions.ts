import { type Action, type HeldWrites, MAX_MERGE_SOURCES } from '../api/transaction.js';
import { CodedError } from '../base/coded-error.js';
import { runGivingWay } from '../base/steps.js';
import { type BitmapAction, FailedStep, type TransactionStep, takingSteps } from '../bitmap/transaction.js';
import { changeAtOneInstant } from '../export/cut.js';
import type { Export } from '../export/export.js';
import type { ExportRegistry } from '../export/registry.js';
import type { ControlHost } from './control-host.js';

/**
 * Applies either all actions, at one instant with respect to writes, or none. Returns how long writes were held back.
 * @throws FailedStep with the index of the refused action; CodedError FLUSH_FAILED, STORE_UNUSABLE, STORE_IN_DOUBT
 */
export async function runActions(host: ControlHost, actions: readonly Action[]): Promise<HeldWrites> {
  const involved = new Set<Export>();
  const steps = actions.map((action, index) => {
    try {
      return toStep(host.exports, action, involved);
    } catch (error) {
      throw new FailedStep(index, error);
    }
  });
  checkSources(actions);
  const held = await changeAtOneInstant(involved, { apply: () => runGivingWay(takingSteps(steps)) });
  for (const { name } of involved) publish(host, name, actions);
  return held;
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
export async function runAction(host: ControlHost, action: Action): Promise<HeldWrites> {
  try {
    return await runActions(host, [action]);
  } catch (error) {
    throw error instanceof FailedStep ? error.cause : error;
  }
}

function toStep(exports: ExportRegistry, action: Action, involved: Set<Export>): TransactionStep {
  const take = (name: string): Export => {
    const served = exports.get(name);
    involved.add(served);
    return served;
  };
  const served = take(action.export);
  return { bitmaps: served.bitmaps, action: toBitmapAction(served, action, take) };
}

function toBitmapAction(served: Export, action: Action, take: (name: string) => Export): BitmapAction {
  const { bitmap: name } = action;
  switch (action.type) {
    case 'bitmap-add': {
      const { granularityBytes, disabled = false, transient = false } = action;
      const persistent = served.persistence !== undefined && !transient;
      const granularity = granularityBytes === undefined ? {} : { granularityBytes };
      return { type: 'add', bitmap: { name, disabled, persistent, ...granularity } };
    }
    case 'bitmap-merge': {
      const sources = action.sources.map((source) =>
        typeof source === 'string'
          ? { bitmaps: served.bitmaps, name: source }
          : { bitmaps: take(source.export).bitmaps, name: source.bitmap },
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

function publish({ events }: ControlHost, exportName: string, actions: readonly Action[]): void {
  const own = actions.filter((action) => action.export === exportName);
  if (own.length === 0) return;
  events.publish({
    type: 'bitmaps-changed',
    export: exportName,
    actions: own.map(({ type, bitmap }) => ({ type, bitmap })),
  });
}
