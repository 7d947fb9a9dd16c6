import { printable } from '../base/printable.js';
import { isPowerOfTwo, KIB, SECTOR_BYTES } from '../base/units.js';
import {
  type BlockSizes,
  decodeInfoBlockSize,
  decodeInfoExport,
  decodeInfoType,
  decodeMetaContext,
  encodeInfoRequest,
  encodeMetaContextRequest,
  encodeOption,
} from '../protocol/client-codec.js';
import {
  EXPORT_NAME_PADDING_BYTES,
  InfoType,
  MAX_PAYLOAD_BYTES,
  Option,
  OptionError,
  OptionReply,
  PREFERRED_BLOCK_BYTES,
} from '../protocol/constants.js';
import { exportNameReplyLayout } from '../protocol/layouts.js';
import type { ReplyForm } from '../protocol/reply-form.js';
import type { Dialogue } from './dialogue.js';
import { NbdProtocolError } from './errors.js';
import { askOption, type Greeting, type OptionAnswer, type Send } from './option-exchange.js';

interface ExportInformation {
  readonly sizeBytes: number;
  /** TransmissionFlag bits. */
  readonly flags: number;
  readonly blockSizes: BlockSizes;
}

/** What client and server have agreed when the transmission phase begins. */
export interface OpenedExport extends ExportInformation {
  readonly replies: ReplyForm;
  /** Selected metadata contexts: id to name. */
  readonly contexts: ReadonlyMap<number, string>;
}

/** The block sizes of a server that does not send any ("Block size constraints"). */
const defaultBlockSizes: BlockSizes = { minimum: 1, preferred: PREFERRED_BLOCK_BYTES, maximum: MAX_PAYLOAD_BYTES };
const MAX_MINIMUM_BLOCK_BYTES = 64 * KIB;

/**
 * The handshake after the greeting, up to transmission: agrees on the best form of replies that the server supports,
 * selects those of the wanted contexts that it has, then sends GO, or EXPORT_NAME if the server does not know GO.
 */
export function* openExport(
  send: Send,
  greeting: Greeting,
  exportName: string,
  contexts: readonly string[],
): Dialogue<OpenedExport> {
  if (!greeting.fixedNewstyle) {
    return { ...(yield* openByName(send, greeting, exportName)), replies: 'simple', contexts: new Map() };
  }
  const replies = yield* agreeOnReplies(send);
  const selected = replies === 'simple' ? new Map<number, string>() : yield* selectContexts(send, exportName, contexts);

  const request = encodeInfoRequest(exportName, [InfoType.BLOCK_SIZE]);
  const answer = yield* askOption(send, Option.GO, `the export "${printable(exportName)}"`, request);
  const { refusal } = answer;
  // With extended headers there is no other way to open an export.
  if (refusal && (refusal.error !== OptionError.UNSUP || replies === 'extended')) throw refusal;
  const opened = refusal ? yield* openByName(send, greeting, exportName) : readInformation(answer);
  return { ...opened, replies, contexts: selected };
}

/** Errors that apply to the whole connection. */
const connectionRefusals = new Set<number>([OptionError.TLS_REQD, OptionError.SHUTDOWN]);

/**
 * Agrees on the best form of replies that the server has.
 * @throws NbdOptionError when the server would also refuse everything else
 */
export function* agreeOnReplies(send: Send): Dialogue<ReplyForm> {
  if (yield* agreeOn(send, Option.EXTENDED_HEADERS, 'extended headers')) return 'extended';
  return (yield* agreeOn(send, Option.STRUCTURED_REPLY, 'structured replies')) ? 'structured' : 'simple';
}

function* agreeOn(send: Send, option: number, what: string): Dialogue<boolean> {
  const { refusal } = yield* askOption(send, option, what);
  if (refusal && connectionRefusals.has(refusal.error)) throw refusal;
  return refusal === undefined;
}

/** Selects nothing when the server refuses. If the cause is the export, GO reports it. */
function* selectContexts(send: Send, exportName: string, wanted: readonly string[]): Dialogue<Map<number, string>> {
  const selected = new Map<number, string>();
  if (wanted.length === 0) return selected;
  const request = encodeMetaContextRequest(exportName, wanted);
  const { replies, refusal } = yield* askOption(send, Option.SET_META_CONTEXT, 'metadata contexts', request);
  if (refusal) return selected;
  for (const { type, data } of replies) {
    const context = type === OptionReply.META_CONTEXT ? decodeMetaContext(data) : undefined;
    if (!context) throw new NbdProtocolError('sent something that is not a metadata context');
    const { contextId, name } = context;
    if (!wanted.includes(name))
      throw new NbdProtocolError(`selected the context "${printable(name)}", which was not asked for`);
    if (selected.has(contextId)) throw new NbdProtocolError(`gave two contexts the id ${contextId}`);
    selected.set(contextId, name);
  }
  return selected;
}

function readInformation({ replies }: OptionAnswer): ExportInformation {
  let blockSizes = defaultBlockSizes;
  let described: { size: number; flags: number } | undefined;
  for (const { type, data } of replies) {
    if (type !== OptionReply.INFO) throw new NbdProtocolError(`answered GO with a reply of type ${type}`);
    const infoType = decodeInfoType(data);
    if (infoType === InfoType.EXPORT) described = decodeInfoExport(data);
    if (infoType === InfoType.BLOCK_SIZE) blockSizes = checkBlockSizes(decodeInfoBlockSize(data));
  }
  if (!described) throw new NbdProtocolError('agreed to GO without saying how large the export is');
  return { sizeBytes: checkSize(described.size), flags: described.flags, blockSizes };
}

function checkSize(sizeBytes: number): number {
  if (Number.isSafeInteger(sizeBytes)) return sizeBytes;
  throw new NbdProtocolError(`has an export of ${sizeBytes} bytes, which is more than this client can count`);
}

/** Checks the sizes, and limits the longest payload to 32 MiB even if the server accepts more. */
function checkBlockSizes(sizes: BlockSizes | undefined): BlockSizes {
  const sound =
    sizes !== undefined &&
    isPowerOfTwo(sizes.minimum) &&
    sizes.minimum <= MAX_MINIMUM_BLOCK_BYTES &&
    isPowerOfTwo(sizes.preferred) &&
    sizes.preferred >= Math.max(sizes.minimum, SECTOR_BYTES) &&
    sizes.maximum >= sizes.preferred;
  if (!sound) throw new NbdProtocolError('sent block sizes that break the rules');
  const { minimum, preferred, maximum } = sizes;
  return { minimum, preferred, maximum: Math.min(maximum, MAX_PAYLOAD_BYTES) };
}

/** Opens the export without GO. A server that does not have the export can only close the connection. */
function* openByName(send: Send, { noZeroes }: Greeting, exportName: string): Dialogue<ExportInformation> {
  send(encodeOption(Option.EXPORT_NAME, Buffer.from(exportName)));
  const { size, flags } = exportNameReplyLayout.decode(yield exportNameReplyLayout.span);
  if (!noZeroes) yield EXPORT_NAME_PADDING_BYTES;
  return { sizeBytes: checkSize(size), flags, blockSizes: defaultBlockSizes };
}
