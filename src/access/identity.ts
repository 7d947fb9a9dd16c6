/** Who a client is, as far as it has proved. Made once for each connection or request. */
export interface Identity {
  /** The control socket, stdio and the operator's own token: may do everything. */
  readonly operator?: true;
}

export const operator: Identity = { operator: true };
