/** One thing that was looked for on a machine. */
export interface Finding {
  readonly subject: string;
  /** `missing`: the server does without, as the detail says. `fatal`: it does not run. */
  readonly state: 'ok' | 'missing' | 'fatal';
  readonly detail: string;
}

export const ok = (subject: string, detail: string): Finding => ({ subject, state: 'ok', detail });
export const missing = (subject: string, detail: string): Finding => ({ subject, state: 'missing', detail });
export const fatal = (subject: string, detail: string): Finding => ({ subject, state: 'fatal', detail });
