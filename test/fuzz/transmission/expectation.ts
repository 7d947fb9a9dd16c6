import * as nbd from '../../../src/protocol/constants.js';
import { type FuzzDisk, NIGHTLY } from './disks.js';
import type { PlannedClient, PlannedRequest } from './plan.js';

/**
 * The error numbers that may answer a request, with 0 for success. This is written from the protocol document without
 * code of src/, so that it cannot share a mistake with the server. If several rules are broken, any of their errors is
 * allowed.
 */
export function allowedErrors(
  { command, flags, offset, length, contextIds }: PlannedRequest,
  { sizeBytes, readOnly, minBlockBytes, bitmaps }: FuzzDisk,
  client: PlannedClient,
): ReadonlySet<number> {
  const errors = new Set<number>();
  const known = (client.extended ? extendedFlags : knownFlags)[command];
  if (known === undefined || (flags & ~known) !== 0) errors.add(EINVAL);
  if (command !== FLUSH && known !== undefined) {
    const changes = command === WRITE || command === WRITE_ZEROES;
    if (readOnly && (changes || command === TRIM)) errors.add(EPERM);
    if (offset + BigInt(length) > BigInt(sizeBytes)) errors.add(changes ? ENOSPC : EINVAL);
    const isWhole = offset % BigInt(minBlockBytes) === 0n && length % minBlockBytes === 0;
    if (client.blockSizes && !isWhole) errors.add(EINVAL);
    if (command === READ && length > MAX_PAYLOAD_BYTES) errors.add(EOVERFLOW).add(EINVAL).add(ENOMEM);
    if (command === READ && (flags & DF) !== 0 && !client.structured) errors.add(EINVAL);
    if (command === BLOCK_STATUS && (!client.contexts || length === 0)) errors.add(EINVAL);
    if (command === BLOCK_STATUS && client.extended && (flags & PAYLOAD_LEN) !== 0) {
      const contextCount = bitmaps.includes(NIGHTLY) ? 2 : 1;
      const isList =
        contextIds !== undefined && contextIds.length > 0 && new Set(contextIds).size === contextIds.length;
      if (!isList || contextIds.some((id) => id < 1 || id > contextCount)) errors.add(EINVAL);
    }
  }
  if (errors.size === 0) return command === WRITE_ZEROES && (flags & FAST_ZERO) !== 0 ? maybeSlow : success;
  // A server may accept longer reads than it must.
  if (errors.size === 3 && errors.has(EOVERFLOW) && errors.has(ENOMEM)) errors.add(0);
  return errors;
}

const { READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS } = nbd.Command;
const { FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN } = nbd.CommandFlag;
const { EPERM, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP } = nbd.NbdError;
const { MAX_PAYLOAD_BYTES } = nbd;
const success: ReadonlySet<number> = new Set([0]);
const maybeSlow: ReadonlySet<number> = new Set([0, ENOTSUP]);

const knownFlags: Record<number, number> = {
  [READ]: FUA | DF,
  [WRITE]: FUA,
  [FLUSH]: FUA,
  [TRIM]: FUA,
  [CACHE]: FUA,
  [WRITE_ZEROES]: FUA | NO_HOLE | FAST_ZERO,
  [BLOCK_STATUS]: FUA | REQ_ONE,
};

const extendedFlags: Record<number, number> = {
  ...knownFlags,
  [WRITE]: FUA | PAYLOAD_LEN,
  [BLOCK_STATUS]: FUA | REQ_ONE | PAYLOAD_LEN,
};
