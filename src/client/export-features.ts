import { TransmissionFlag } from '../protocol/constants.js';

/** What a server says that it can do with an export. */
export interface ExportFeatures {
  readonly readOnly: boolean;
  readonly rotational: boolean;
  readonly flush: boolean;
  /** Changes can be asked to be durable before they are answered. */
  readonly fua: boolean;
  readonly trim: boolean;
  readonly zero: boolean;
  readonly fastZero: boolean;
  readonly cache: boolean;
  /** Several connections see the same disk: a flush on one holds for all. */
  readonly multiConn: boolean;
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
  };
}
