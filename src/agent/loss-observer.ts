/** How long a server may be away. As long as a lease, because a backup ends when nobody renews it. */
export const LOSS_PATIENCE_MILLISECONDS = 5 * 60_000;

/** Follows the connections of one copy. */
export interface LossObserver {
  lost(cause: Error): void;
  back(): void;
}

/** Says when the first of several connections is lost, and when all of them are back. */
export function sayLosses(say: (text: string) => void): LossObserver {
  let lost = 0;
  return {
    lost(cause) {
      if (lost++ === 0) say(`${cause.message}; trying again for up to ${LOSS_PATIENCE_MILLISECONDS / 60_000} minutes`);
    },
    back() {
      if (--lost === 0) say('connected again');
    },
  };
}
