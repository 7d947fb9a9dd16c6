import { type CodedError, errorCatalogue } from './coded-error.js';

/** A refusal as a problem document (RFC 9457): what the control API answers, and commands print with --json. */
export function problemOf({ code, message, hint }: CodedError, failedAction?: number) {
  const { status, title } = errorCatalogue[code];
  return {
    type: `errors.md#${code.toLowerCase()}`,
    title,
    status,
    detail: message,
    code,
    ...(hint === '' ? {} : { hint }),
    ...(failedAction === undefined ? {} : { failedAction }),
  };
}
