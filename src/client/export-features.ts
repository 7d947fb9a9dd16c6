import { TransmissionFlag } from '../protocol/constants.js';

/** What the server supports for an export. */
export interface ExportFeatures {
  readonly readOnly: boolean;
  readonly rotational: boolean;
  readonly flush: boolean;
  /** The client can ask that a change is durable before it is answered. */
  readonly fua: boolean;
  readonly trim: boolean;
  readonly zero: boolean;
  readonly fastZero: boolean;
  readonly cache: boolean;
  /** Several connections see the same disk, and a flush on one applies to all of them. */
  readonly multiConn: boolean;
  /** A request for the block status can name some of the selected contexts. */
  readonly blockStatusPayload: boolean;
}

export function readFeatures(flags: number): ExportFeatures {
  const has = (flag: number) => (flags & flag) !== 0;
  return {
    readOnly: has(TransmissionFlag.READ_ONLY),
    rotational: has(TransmissionFlag.ROTATIONAL),
    flush: has(TransmissionFlag.SEND_FLUSH),
    fua: has(TransmissionFlag.SEND_FUA),
    trim: has(TransmissionFlag.SEND_TRIM),
    zero: has(TransmissionFlag.SEND_WRITE_ZEROES),
    fastZero: has(TransmissionFlag.SEND_FAST_ZERO),
    cache: has(TransmissionFlag.SEND_CACHE),
    multiConn: has(TransmissionFlag.CAN_MULTI_CONN),
    blockStatusPayload: has(TransmissionFlag.BLOCK_STATUS_PAYLOAD),
  };
}
