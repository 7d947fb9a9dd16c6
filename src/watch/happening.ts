import type { ReloadReport } from '../api/reload.js';
import type { ThresholdKind, tlsModes } from '../api/values.js';
import type { BackupEvent } from '../backup/backup-event.js';
import type { Reading } from './thresholds/reading.js';

/** A change of an export. */
interface ExportEvent {
  readonly type: `export-${'added' | 'removed' | 'resized'}`;
  readonly export: string;
}

interface BitmapsChanged {
  readonly type: 'bitmaps-changed';
  readonly export: string;
  /** What changed the bitmaps. */
  readonly actions: readonly { readonly type: string; readonly bitmap: string }[];
}

/** Shows where the history has a gap: after a crash, nothing says that the server stopped. */
interface ServerStarted {
  readonly type: 'server-started';
  readonly version: string;
  readonly pid: number;
  /** The state directory. */
  readonly state: string;
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  readonly tls: (typeof tlsModes)[number];
  readonly unix?: string;
  readonly exportCount: number;
}

interface ServerStopping {
  readonly type: 'server-stopping';
}

interface ConfigReloaded extends ReloadReport {
  readonly type: 'config-reloaded';
}

interface ConfigRefused {
  readonly type: 'config-refused';
  /** What is wrong with the configuration, and how to mend it. */
  readonly detail: string;
}

/** Something went beyond a threshold, or has come back. */
export interface ThresholdPassed extends Reading {
  readonly type: 'threshold-crossed' | 'threshold-cleared';
  /** Its name. */
  readonly threshold: string;
  readonly kind: ThresholdKind;
}

interface HookFailed {
  readonly type: 'hook-failed';
  readonly hook: string;
  /** The id of the event that was not delivered. */
  readonly about: number;
  readonly tries: number;
  /** Why the last try failed. */
  readonly detail: string;
}

interface Asked {
  /** Who asked for it, see `describeIdentity`. Missing if the server did it by itself. */
  readonly by?: string;
}

/** What is published. */
export type Happening = (
  | ExportEvent
  | BitmapsChanged
  | ServerStarted
  | ServerStopping
  | ConfigReloaded
  | ConfigRefused
  | ThresholdPassed
  | HookFailed
  | BackupEvent
) &
  Asked;

/** An event as the API sends it. Ids rise by one, also over restarts of the server; `at` is in ISO 8601. */
export type ServerEvent = Happening & { readonly id: number; readonly at: string };

/** An event, and the size of its JSON. */
export interface KeptEvent {
  readonly event: ServerEvent;
  readonly bytes: number;
}

/** The exports that an event is about. */
export function exportsOf(event: ServerEvent): readonly string[] {
  if ('exports' in event) return event.exports;
  return 'export' in event && event.export !== undefined ? [event.export] : [];
}
