import type { FastifyRequest, onErrorHookHandler, onResponseHookHandler } from 'fastify';
import { describeIdentity, isProven } from '../../access/identity.js';
import { originOf } from '../../access/origin.js';
import { apiApplicant, type Refusals } from '../../access/refusals.js';
import { CodedError } from '../../base/coded-error.js';
import { FailedStep } from '../../bitmap/transaction.js';
import type { ExportRegistry } from '../../export/registry.js';

/** Notes requests that were refused because the caller lacks a right. Only the log says that a hidden export exists. */
export function noteRefusals(exports: ExportRegistry, refusals: Refusals): onErrorHookHandler {
  return (request, _reply, error, done) => {
    const cause: unknown = error instanceof FailedStep ? error.cause : error;
    const reason = cause instanceof CodedError ? reasonOf(cause, request, exports) : undefined;
    if (reason !== undefined) {
      const { identity } = request.access;
      const who = describeIdentity(identity);
      const client = identity.from.kind === 'tcp' ? identity.from.address : 'unix';
      refusals.note(
        apiApplicant(client),
        'rights',
        { identity: who, reason },
        `refused a request of ${who}: ${reason}`,
      );
    }
    done();
  };
}

function reasonOf({ code, message }: CodedError, request: FastifyRequest, exports: ExportRegistry): string | undefined {
  if (code === 'FORBIDDEN') return message;
  if (code !== 'EXPORT_NOT_FOUND') return undefined;
  // What a hidden export costs its caller, one that does not exist has to cost too.
  if (request.access.mayAll('list')) return undefined;
  const hidden = exportsNamed(request).find((name) => exports.find(name) && !request.access.may('list', name));
  return hidden === undefined ? 'it asked for an export that does not exist' : `no rule lets it see "${hidden}"`;
}

/** A body, an action of a transaction, or a source of a merge. */
interface Naming {
  readonly export?: string;
  readonly exports?: readonly string[];
  readonly sources?: readonly (string | Naming)[];
  readonly actions?: readonly Naming[];
}

function exportsNamed({ params, body, routeOptions }: FastifyRequest): string[] {
  // Without a schema, anything may be in the body.
  const valid = (routeOptions.schema?.body === undefined ? {} : (body ?? {})) as Naming;
  const merges = [valid, ...(valid.actions ?? [])];
  const sources = merges.flatMap((one) => one.sources ?? []).filter((source) => typeof source !== 'string');
  const single = [(params ?? {}) as Naming, ...merges, ...sources].flatMap((one) => one.export ?? []);
  return [...single, ...(valid.exports ?? [])];
}

/** A caller who gets what it asks for, and has proved who it is, may fail again. */
export function forgiveCallers(refusals: Refusals): onResponseHookHandler {
  return ({ access }, { statusCode }, done) => {
    const { identity } = access ?? {};
    if (statusCode < 400 && identity?.from.kind === 'tcp' && isProven(identity)) {
      refusals.forgive(originOf(identity.from.address));
    }
    done();
  };
}
