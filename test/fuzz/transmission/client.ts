import { InfoType, Option } from '../../../src/protocol/constants.js';
import { encodeOption, infoData, metaData, u32 } from '../../support/raw-client.js';
import { FuzzSocket } from '../fuzz-socket.js';
import { takeGreeting, takeOptionReplies } from '../handshake/option-replies.js';
import { expectThat } from '../target.js';
import type { PlannedClient } from './plan.js';

const CONTEXTS = ['base:allocation', 'qemu:dirty-bitmap:nightly', 'qemu:dirty-bitmap:none'];
const META_CONTEXT = 4;

/** A client of a fuzzed disk, after the handshake. */
export interface ConnectedClient {
  readonly plan: PlannedClient;
  readonly socket: FuzzSocket;
  /** The selected contexts: name by ID. */
  readonly contexts: ReadonlyMap<number, string>;
}

/** Completes the handshake as a correct client does. If the plan says so, `first` is sent together with its end. */
export async function connectClient(
  path: string,
  exportName: string,
  plan: PlannedClient,
  first: Buffer,
): Promise<ConnectedClient> {
  const socket = await FuzzSocket.connect(path);
  const options = [
    ...(plan.structured ? [encodeOption(plan.extended ? Option.EXTENDED_HEADERS : Option.STRUCTURED_REPLY)] : []),
    ...(plan.contexts ? [encodeOption(Option.SET_META_CONTEXT, metaData(exportName, CONTEXTS))] : []),
    encodeOption(Option.GO, infoData(exportName, plan.blockSizes ? [InfoType.BLOCK_SIZE] : [])),
  ];
  await socket.send(Buffer.concat([u32(3), ...options, ...(plan.pipelined ? [first] : [])]));
  await takeGreeting(socket);
  const contexts = new Map<number, string>();
  for (let i = 0; i < options.length; i++) {
    const replies = await takeOptionReplies(socket);
    expectThat(replies?.at(-1)?.type === 1, () => `the handshake for "${exportName}" was refused`);
    for (const { type, data } of replies!) {
      if (type === META_CONTEXT) contexts.set(data.readUInt32BE(0), data.toString('utf8', 4));
    }
  }
  if (!plan.pipelined) await socket.send(first);
  return { plan, socket, contexts };
}
