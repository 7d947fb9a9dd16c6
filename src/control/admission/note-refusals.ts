import type { FastifyRequest, onErrorHookHandler } from 'fastify';
import { describeIdentity } from '../../access/identity.js';
import { CodedError } from '../../base/coded-error.js';
import type { ExportRegistry } from '../../export/registry.js';
import type { RefusalLog } from './refusal-log.js';

/** Notes requests that were refused because the caller lacks a right. Only the log says that a hidden export exists. */
export function noteRefusals(exports: ExportRegistry, refusals: RefusalLog): onErrorHookHandler {
  return (request, _reply, error, done) => {
    const reason = error instanceof CodedError ? reasonOf(error, request, exports) : undefined;
    if (reason !== undefined) {
      const { identity } = request.access;
      const who = describeIdentity(identity);
      const client = identity.from.kind === 'tcp' ? identity.from.address : 'unix';
      refusals.note(client, 'rights', { identity: who, reason }, `refused a request of ${who}: ${reason}`);
    }
    done();
  };
}

function reasonOf({ code, message }: CodedError, request: FastifyRequest, exports: ExportRegistry): string | undefined {
  if (code === 'FORBIDDEN') return message;
  if (code !== 'EXPORT_NOT_FOUND') return undefined;
  const hidden = exportsNamed(request).find((name) => exports.find(name) && !request.access.may('list', name));
  return hidden === undefined ? undefined : `no rule lets it see "${hidden}"`;
}

function exportsNamed({ params, body }: FastifyRequest): string[] {
  const { export: inPath } = (params ?? {}) as { readonly export?: string };
  const { exports: inBody } = (body ?? {}) as { readonly exports?: readonly string[] };
  return [...(inPath === undefined ? [] : [inPath]), ...(inBody ?? [])];
}
