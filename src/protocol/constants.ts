/**
 * The numbers of the NBD protocol document (doc/proto.md, "Values" and the sections it refers to), and of its extension
 * EXTENDED_HEADERS (the same document in the branch extension-ext-header).
 * test/protocol/constants.test.ts compares them with a second table.
 */

/** The first 16 bytes that a server sends, in ASCII. */
export const NBD_MAGIC = 'NBDMAGIC';
export const OPTION_MAGIC = 'IHAVEOPT';
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
export const EXTENDED_REQUEST_MAGIC = 0x21e41c71;
export const EXTENDED_REPLY_MAGIC = 0x6e8a278c;

/** Zero bytes after the EXPORT_NAME reply, unless both sides agree to leave them out. */
export const EXPORT_NAME_PADDING_BYTES = 124;

/** The server sends what it offers, and the client returns what it accepts. */
export const HandshakeFlag = { FIXED_NEWSTYLE: 1 << 0, NO_ZEROES: 1 << 1 } as const;

export const TransmissionFlag = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  ROTATIONAL: 1 << 4,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_RESIZE: 1 << 9,
  SEND_CACHE: 1 << 10,
  SEND_FAST_ZERO: 1 << 11,
  BLOCK_STATUS_PAYLOAD: 1 << 12,
} as const;

export const Option = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  PEEK_EXPORT: 4,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
  EXTENDED_HEADERS: 11,
} as const;

export const OptionReply = { ACK: 1, SERVER: 2, INFO: 3, META_CONTEXT: 4 } as const;

const OPTION_ERROR = 2 ** 31;
export const OptionError = {
  UNSUP: OPTION_ERROR + 1,
  POLICY: OPTION_ERROR + 2,
  INVALID: OPTION_ERROR + 3,
  PLATFORM: OPTION_ERROR + 4,
  TLS_REQD: OPTION_ERROR + 5,
  UNKNOWN: OPTION_ERROR + 6,
  SHUTDOWN: OPTION_ERROR + 7,
  BLOCK_SIZE_REQD: OPTION_ERROR + 8,
  TOO_BIG: OPTION_ERROR + 9,
  EXT_HEADER_REQD: OPTION_ERROR + 10,
} as const;
export type OptionError = (typeof OptionError)[keyof typeof OptionError];

export const InfoType = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const;

export const Command = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
} as const;
export type Command = (typeof Command)[keyof typeof Command];

export const CommandFlag = {
  FUA: 1 << 0,
  NO_HOLE: 1 << 1,
  DF: 1 << 2,
  REQ_ONE: 1 << 3,
  FAST_ZERO: 1 << 4,
  PAYLOAD_LEN: 1 << 5,
} as const;

export const ReplyChunk = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  BLOCK_STATUS: 5,
  BLOCK_STATUS_EXT: 6,
  ERROR: 2 ** 15 + 1,
  ERROR_OFFSET: 2 ** 15 + 2,
} as const;
export const REPLY_FLAG_DONE = 1;

/** Error numbers that may be sent. They have the values of Linux. */
export const NbdError = {
  NONE: 0,
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
export type NbdError = (typeof NbdError)[keyof typeof NbdError];

/** Status bits of `base:allocation`. */
export const AllocationStatus = { HOLE: 1 << 0, ZERO: 1 << 1 } as const;
/** Status bit of `qemu:dirty-bitmap:NAME`. */
export const DIRTY_BITMAP_DIRTY = 1 << 0;

/** The longest string that the document allows for names, descriptions and messages. */
export const MAX_STRING_BYTES = 4096;
/** The most queries in one option; clients send a handful. The server may answer TOO_BIG above its limit. */
export const MAX_META_QUERIES = 1024;
/** Every server should accept payloads up to this size, even if it does not say so ("Block size constraints"). */
export const MAX_PAYLOAD_BYTES = 32 * 1024 * 1024;
/** The limit for a client that did not ask for block sizes and so knows no limit: the same as in nbd-server. */
export const MAX_UNAGREED_PAYLOAD_BYTES = 2 * MAX_PAYLOAD_BYTES;
/** The preferred block size that a client assumes when it does not ask. */
export const PREFERRED_BLOCK_BYTES = 4096;
