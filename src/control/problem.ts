import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError, type ErrorCode } from '../base/coded-error.js';
import type { Log } from '../base/log.js';
import { FailedStep } from '../bitmap/transaction.js';
import { problemOf } from './error-statuses.js';

/** Answers every failure with a problem document (RFC 9457) that has a code of the catalogue. */
export function problemHandler(log: Log) {
  return (error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void => {
    sendProblem(reply, toCodedError(error, log), error instanceof FailedStep ? error.index : undefined);
  };
}

export function sendProblem(reply: FastifyReply, error: CodedError, failedAction?: number): void {
  const problem = problemOf(error, failedAction);
  if (error.code === 'UNAUTHORIZED') reply.header('www-authenticate', 'Bearer');
  void reply.status(problem.status).type('application/problem+json').send(JSON.stringify(problem));
}

function toCodedError(error: FastifyError, log: Log): CodedError {
  const cause: unknown = error instanceof FailedStep ? error.cause : error;
  if (cause instanceof CodedError) return cause;
  if (error.validation) return new CodedError('BAD_REQUEST', describeValidation(error), 'see /openapi.json');
  if (error.statusCode === 415) {
    const hint = 'send Content-Type: application/json';
    return new CodedError('UNSUPPORTED_MEDIA_TYPE', 'the media type of the body is not JSON', hint);
  }
  if (error.statusCode !== undefined && error.statusCode < 500) {
    const code: ErrorCode = error.statusCode === 404 ? 'NOT_FOUND' : 'BAD_REQUEST';
    return new CodedError(code, error.message, 'see /openapi.json');
  }
  log.error({ err: error }, 'a bug in the control API');
  return new CodedError('INTERNAL', 'the server failed to answer', 'its log says why; please report it');
}

function describeValidation({ validation = [], validationContext }: FastifyError): string {
  const [first] = validation;
  const place = `${validationContext ?? 'request'}${(first?.instancePath ?? '').replaceAll('/', '.')}`;
  const { additionalProperties, allowedValues } = first?.params ?? {};
  const listed = additionalProperties ?? allowedValues;
  const what = first?.message === 'schema is false' ? 'is not known here' : (first?.message ?? 'is not valid');
  return `${place} ${what}${Array.isArray(listed) ? `: ${listed.join(', ')}` : ''}`;
}
