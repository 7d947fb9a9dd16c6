import type { MetadataContext } from '../export/metadata-context.js';
import type { ServedDisk } from '../export/served-disk.js';
import {
  MAX_PAYLOAD_BYTES,
  MAX_UNAGREED_PAYLOAD_BYTES,
  PREFERRED_BLOCK_BYTES,
  TransmissionFlag,
} from '../protocol/constants.js';
import type { ReplyForm } from '../protocol/reply-form.js';
import type { RequestTerms } from '../protocol/validate-request.js';

/** A context that the client chose, with the id it has on this connection. */
export interface SelectedContext {
  readonly id: number;
  readonly context: MetadataContext;
}

/** What the transmission phase needs of a disk. */
type AgreedDisk = Pick<ServedDisk, 'name' | 'readOnly' | 'minBlockBytes' | 'device'>;

/** What the handshake has settled for the transmission phase. */
export interface Agreement<Disk extends AgreedDisk = AgreedDisk> {
  readonly export: Disk;
  readonly replies: ReplyForm;
  /** The client asked for the block sizes, so it must respect them. */
  readonly enforceBlockSize: boolean;
  readonly contexts: readonly SelectedContext[];
}

export const BLOCK_SIZES = { preferred: PREFERRED_BLOCK_BYTES, maximum: MAX_PAYLOAD_BYTES } as const;

/** What decides which requests of the client are valid. */
export function requestTerms(agreement: Agreement): RequestTerms {
  const { export: served, replies, enforceBlockSize, contexts } = agreement;
  return {
    readOnly: served.readOnly,
    replies,
    maxPayloadBytes: enforceBlockSize ? MAX_PAYLOAD_BYTES : MAX_UNAGREED_PAYLOAD_BYTES,
    blockBytes: enforceBlockSize ? served.minBlockBytes : 1,
    hasContexts: contexts.length > 0,
  };
}

/** The transmission flags of an export. They depend on the form of replies that was agreed. */
export function transmissionFlags(served: ServedDisk, replies: ReplyForm, multipleConnections: boolean): number {
  const { trim, rotational } = served.capabilities;
  const flag = TransmissionFlag;
  let flags = flag.HAS_FLAGS | flag.SEND_FLUSH | flag.SEND_FUA | flag.SEND_CACHE;
  if (multipleConnections) flags |= flag.CAN_MULTI_CONN;
  if (replies !== 'simple') flags |= flag.SEND_DF;
  if (rotational) flags |= flag.ROTATIONAL;
  if (served.readOnly) return flags | flag.READ_ONLY;
  if (trim) flags |= flag.SEND_TRIM;
  return flags | flag.SEND_WRITE_ZEROES | flag.SEND_FAST_ZERO;
}
