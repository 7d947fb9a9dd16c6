/** How many restore points to keep of a kind. */
export type KeepCount = number | 'unlimited';

/** Kinds of restore points that a policy counts: the newest of each period, and with `last` simply the newest. */
export const retentionPeriods = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;

/** What to keep. At least one kind is given. */
export type RetentionPolicy = { readonly [Period in (typeof retentionPeriods)[number]]?: KeepCount };
