/** The result of one check. */
export interface Finding {
  readonly subject: string;
  /**
   * `warning`: it works now, and needs care soon. `missing`: the server runs without it, with the effect given in
   * `detail`. `fatal`: the server cannot run, or no peer accepts it.
   */
  readonly state: 'ok' | 'warning' | 'missing' | 'fatal';
  readonly detail: string;
}

export const ok = (subject: string, detail: string): Finding => ({ subject, state: 'ok', detail });
export const warning = (subject: string, detail: string): Finding => ({ subject, state: 'warning', detail });
export const missing = (subject: string, detail: string): Finding => ({ subject, state: 'missing', detail });
export const fatal = (subject: string, detail: string): Finding => ({ subject, state: 'fatal', detail });
