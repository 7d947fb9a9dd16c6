import type { FastifyReply } from 'fastify';

/** The returned signal is aborted when the client hangs up before it has received the whole answer. */
export function hangUpOf({ raw }: FastifyReply): AbortSignal {
  const hangUp = new AbortController();
  raw.once('close', () => {
    if (!raw.writableFinished) hangUp.abort();
  });
  return hangUp.signal;
}
