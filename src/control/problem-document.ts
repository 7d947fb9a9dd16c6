import { type CodedError, errorTitles } from '../base/coded-error.js';
import { errorStatuses } from './error-statuses.js';

/** The problem document (RFC 9457) of an error, which the control API sends and commands print with --json. */
export function problemOf({ code, message, hint }: CodedError, failedAction?: number) {
  return {
    type: `errors.md#${code.toLowerCase()}`,
    title: errorTitles[code],
    status: errorStatuses[code],
    detail: message,
    code,
    ...(hint === '' ? {} : { hint }),
    ...(failedAction === undefined ? {} : { failedAction }),
  };
}
