import { expect } from 'vitest';
import { type ErrorCode, errorTitles } from '../../src/base/coded-error.js';
import { errorStatuses } from '../../src/control/error-statuses.js';
import type { Answer } from './control-api.js';

/** Compares the whole problem document of a refusal. Without `hint`, checks only that there is one. */
export function expectProblem(
  answer: Answer,
  code: ErrorCode,
  detail: string,
  hint: unknown = expect.any(String),
): void {
  const [status, title] = [errorStatuses[code], errorTitles[code]];
  expect(answer.document).toEqual({ type: `errors.md#${code.toLowerCase()}`, title, status, code, detail, hint });
  expect(answer).toMatchObject({ status, mediaType: 'application/problem+json' });
}
