import { contextIdLayout, statusPayloadLayout } from './layouts.js';

/** The payload of a BLOCK_STATUS request: how much of the disk it is about, and which of the selected contexts. */
export interface StatusPayload {
  /** Not exact above 2^53. */
  readonly length: number;
  readonly contextIds: readonly number[];
}

/** Whether a payload of that length names at least one context, and at most `mostContexts`. */
export function isStatusPayloadBytes(bytes: number, mostContexts: number): boolean {
  const count = (bytes - statusPayloadLayout.span) / contextIdLayout.span;
  return Number.isInteger(count) && count >= 1 && count <= mostContexts;
}

export function decodeStatusPayload(payload: Buffer): StatusPayload {
  const contextIds: number[] = [];
  for (let at = statusPayloadLayout.span; at < payload.length; at += contextIdLayout.span) {
    contextIds.push(contextIdLayout.decode(payload, at).contextId);
  }
  return { length: statusPayloadLayout.decode(payload).length, contextIds };
}
