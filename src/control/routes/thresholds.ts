import { Type } from '@fastify/type-provider-typebox';
import { List, Refusal } from '../../api/shapes.js';
import { NewThreshold, Threshold } from '../../api/threshold.js';
import { CodedError } from '../../base/coded-error.js';
import { describeThreshold, thresholdFrom } from '../../watch/thresholds/described.js';
import type { ListedThreshold } from '../../watch/thresholds/thresholds.js';
import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';

const Params = Type.Object({ threshold: Type.String() });

export function thresholdRoutes(api: ControlApi, { thresholds, log }: ControlHost): void {
  api.get(
    '/v1/thresholds',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'listThresholds',
        summary: 'List the thresholds, and where they are crossed',
        response: { 200: Type.Object({ thresholds: List(Threshold) }), default: Refusal },
      },
    },
    async () => ({ thresholds: thresholds.list().map(describe) }),
  );

  api.post(
    '/v1/thresholds',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'addThreshold',
        summary: 'Add a threshold, which stays after a restart of the server',
        body: NewThreshold,
        response: { 201: Threshold, default: Refusal },
      },
    },
    async ({ body, seen }, reply) => {
      const spec = thresholdFrom(body);
      if (typeof spec === 'string') throw new CodedError('BAD_REQUEST', spec, 'see /openapi.json');
      const added = await thresholds.add(spec);
      log.info({ ...describeThreshold(spec), by: seen.who }, 'added a threshold');
      return reply.status(201).send(describe(added));
    },
  );

  api.delete(
    '/v1/thresholds/:threshold',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'removeThreshold',
        summary: 'Remove a threshold that was added by a command',
        params: Params,
        response: { 204: Type.Null(), default: Refusal },
      },
    },
    async ({ params, seen }, reply) => {
      await thresholds.remove(params.threshold);
      log.info({ threshold: params.threshold, by: seen.who }, 'removed a threshold');
      return reply.status(204).send(null);
    },
  );
}

function describe({ spec, origin, crossings, count }: ListedThreshold): Threshold {
  return { ...describeThreshold(spec), origin, crossed: [...crossings], count };
}
