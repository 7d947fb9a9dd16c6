import { printable } from '../base/printable.js';
import {
  decodeMetaContext,
  decodeServerEntry,
  encodeMetaContextRequest,
  type ServerEntry,
} from '../protocol/client-codec.js';
import { Option, OptionError, OptionReply } from '../protocol/constants.js';
import type { Dialogue } from './dialogue.js';
import { NbdProtocolError, NbdUnsupportedError } from './errors.js';
import { type NbdTarget, resolveTarget } from './nbd-uri.js';
import { leaveHandshake, type NbdWaitOptions, negotiate } from './negotiate.js';
import { askOption, type Greeting, type Send } from './option-exchange.js';
import { agreeOnReplies } from './select-export.js';

/** The exports that the server lists. @throws NbdClientError */
export function listExports(target: NbdTarget | string, waiting: NbdWaitOptions = {}): Promise<ServerEntry[]> {
  return askAndLeave(resolveTarget(target), waiting, askForExports);
}

/**
 * The names of the metadata contexts of an export that match a query, or of all when there are no queries. A server
 * that does not support metadata contexts has none. @throws NbdClientError
 */
export function listContexts(
  target: NbdTarget | string,
  queries: readonly string[] = [],
  waiting: NbdWaitOptions = {},
): Promise<string[]> {
  const resolved = resolveTarget(target);
  return askAndLeave(resolved, waiting, (send, greeting) =>
    askForContexts(send, greeting, resolved.exportName, queries),
  );
}

async function askAndLeave<Result>(
  target: NbdTarget,
  waiting: NbdWaitOptions,
  dialogue: (send: Send, greeting: Greeting) => Dialogue<Result>,
): Promise<Result> {
  const { stream, outcome } = await negotiate(target, waiting, dialogue);
  await leaveHandshake(stream);
  return outcome;
}

function* askForExports(send: Send, { fixedNewstyle }: Greeting): Dialogue<ServerEntry[]> {
  if (!fixedNewstyle) throw new NbdUnsupportedError('the server is too old to list its exports');
  const { replies, refusal } = yield* askOption(send, Option.LIST, 'a list of exports');
  if (refusal) throw refusal;
  return replies.map(({ type, data }) => {
    const entry = type === OptionReply.SERVER ? decodeServerEntry(data) : undefined;
    if (!entry) throw new NbdProtocolError('sent something that is not an export in its list of exports');
    return entry;
  });
}

function* askForContexts(
  send: Send,
  { fixedNewstyle }: Greeting,
  exportName: string,
  queries: readonly string[],
): Dialogue<string[]> {
  // Some servers list contexts only after structured replies have been agreed.
  if (!fixedNewstyle || (yield* agreeOnReplies(send)) === 'simple') return [];
  const what = `the metadata contexts of "${printable(exportName)}"`;
  const request = encodeMetaContextRequest(exportName, queries);
  const { replies, refusal } = yield* askOption(send, Option.LIST_META_CONTEXT, what, request);
  if (refusal?.error === OptionError.UNSUP) return [];
  if (refusal) throw refusal;
  return replies.map(({ type, data }) => {
    const context = type === OptionReply.META_CONTEXT ? decodeMetaContext(data) : undefined;
    if (!context) throw new NbdProtocolError('sent something that is not a metadata context');
    return context.name;
  });
}
