/*
 * Lists and limits of the control API that other code needs while it runs. They are apart from the schemas because
 * those need typebox, which takes longer to load than most commands run.
 */

/** Longest text about one export or the end of a backup. */
export const MAX_DETAIL_CHARACTERS = 1000;

/** What happens if old data cannot be saved: the view breaks, or the write fails. */
export const onScratchFullChoices = ['fail-view', 'fail-writer'] as const;
export type OnScratchFull = (typeof onScratchFullChoices)[number];

/** Why a backup was aborted. */
export const abortReasons = [
  'asked',
  'expired',
  'server-restarted',
  'server-stopped',
  'scratch-full',
  'scratch-failed',
  'export-removed',
  'bitmap-inconsistent',
] as const;
export type AbortReason = (typeof abortReasons)[number];

/** What the server tells of, in the log and over the API. */
export const eventTypes = [
  'server-started',
  'server-stopping',
  'config-reloaded',
  'config-refused',
  'export-added',
  'export-removed',
  'export-resized',
  'bitmaps-changed',
  'backup-begun',
  'backup-committed',
  'backup-aborted',
  'backup-scratch-filling',
  'threshold-crossed',
  'threshold-cleared',
  'hook-failed',
] as const;
export type EventType = (typeof eventTypes)[number];
/** How many events are kept in memory and can be asked for. */
export const MAX_EVENTS = 2000;

/** What a threshold can be about. */
export const thresholdKinds = ['dirty', 'backup-age', 'room'] as const;
export type ThresholdKind = (typeof thresholdKinds)[number];
/** Whose room. */
export const roomPlaces = ['state', 'scratch', 'disk'] as const;
export type RoomPlace = (typeof roomPlaces)[number];
/** Where a threshold comes from. */
export const thresholdOrigins = ['configuration', 'command'] as const;
export type ThresholdOrigin = (typeof thresholdOrigins)[number];

/** Why a server makes a backup full. */
export const fullReasonCodes = ['no-such-bitmap', 'inconsistent', 'no-base', 'base-mismatch', 'asked-for'] as const;
export type FullReasonCode = (typeof fullReasonCodes)[number];

/** Smallest unit in bytes that a client may read or write, if it has asked for the block sizes. */
export const minBlockChoices = [1, 512, 4096] as const;
export type MinBlockBytes = (typeof minBlockChoices)[number];

/**
 * Where an export comes from: the configuration file, a flag of `tidemark serve`, or a command. Exports that were added by
 * a command are kept and served again after a restart, unless they are temporary.
 */
export const exportOrigins = ['file', 'flag', 'kept', 'temporary'] as const;
export type ExportOrigin = (typeof exportOrigins)[number];

/** The most bounds between the bins of a latency histogram. */
export const MAX_LATENCY_BOUNDS = 24;

/** Why the bitmaps of a disk are trusted after a start. The texts are shown to users. */
export const grounds = {
  new: 'nothing was known about the disk before',
  times: "the file's timestamps are unchanged since it was last served",
  heartbeat: "the file was not changed after the server's last sign of life",
  counters: 'the kernel has counted no write to the device since it was last served',
  witnesses: 'both ends of the device and 256 sampled blocks are unchanged; the rest was not compared',
  'write-count':
    'the kernel has counted no more writes to the device than the server made before it was killed; ' +
    'a few more by other programs would not be noticed',
  'write-intent': 'the server was killed while writing; later writes by other programs would not be noticed',
  identity: 'it is the same disk; writes by other programs while it was not served would not be noticed',
} as const;
export type Ground = keyof typeof grounds;

/** Whether clients cannot, can or must use TLS. */
export const tlsModes = ['none', 'optional', 'required'] as const;

/** What somebody may do with an export. */
export const rights = ['list', 'read', 'write', 'backup', 'admin'] as const;
export type Right = (typeof rights)[number];

/** Most tokens that a server keeps. */
export const MAX_TOKENS = 1000;
/** Longest life of a token that ends. */
export const MAX_TOKEN_DAYS = 10 * 365;
export const DEFAULT_TOKEN_DAYS = 90;
