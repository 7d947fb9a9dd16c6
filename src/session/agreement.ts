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
type AgreedDisk = Pick<ServedDisk, 'name' | 'minBlockBytes' | 'device'>;

/** What the handshake has settled for the transmission phase. */
export interface Agreement<Disk extends AgreedDisk = AgreedDisk> {
  readonly export: Disk;
  /** Because of the disk, or because of what the client may do. */
  readonly readOnly: boolean;
  readonly replies: ReplyForm;
  /** The client asked for the block sizes, so it must respect them. */
  readonly enforceBlockSize: boolean;
  readonly contexts: readonly SelectedContext[];
}

export const BLOCK_SIZES = { preferred: PREFERRED_BLOCK_BYTES, maximum: MAX_PAYLOAD_BYTES } as const;

/** What decides which requests of the client are valid. */
export function requestTerms(agreement: Agreement): RequestTerms {
  const { export: served, readOnly, replies, enforceBlockSize, contexts } = agreement;
  return {
    readOnly,
    replies,
    maxPayloadBytes: enforceBlockSize ? MAX_PAYLOAD_BYTES : MAX_UNAGREED_PAYLOAD_BYTES,
    blockBytes: enforceBlockSize ? served.minBlockBytes : 1,
    contextCount: contexts.length,
  };
}

/** What the transmission flags depend on besides the disk. */
interface FlagTerms {
  readonly readOnly: boolean;
  readonly replies: ReplyForm;
  /** The client has selected contexts of the export. */
  readonly hasContexts: boolean;
  readonly multipleConnections: boolean;
}

/** The transmission flags of an export. */
export function transmissionFlags(
  { capabilities }: ServedDisk,
  { readOnly, replies, hasContexts, multipleConnections }: FlagTerms,
): number {
  const { trim, rotational } = capabilities;
  const flag = TransmissionFlag;
  let flags = flag.HAS_FLAGS | flag.SEND_FLUSH | flag.SEND_FUA | flag.SEND_CACHE;
  if (multipleConnections) flags |= flag.CAN_MULTI_CONN;
  if (replies !== 'simple') flags |= flag.SEND_DF;
  if (replies === 'extended' && hasContexts) flags |= flag.BLOCK_STATUS_PAYLOAD;
  if (rotational) flags |= flag.ROTATIONAL;
  if (readOnly) return flags | flag.READ_ONLY;
  if (trim) flags |= flag.SEND_TRIM;
  return flags | flag.SEND_WRITE_ZEROES | flag.SEND_FAST_ZERO;
}
