/** Whether clients cannot, can or must use TLS. */
export const tlsModes = ['none', 'optional', 'required'] as const;

export type TlsMode = (typeof tlsModes)[number];
