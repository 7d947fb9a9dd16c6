import { isDeepStrictEqual } from 'node:util';
import type { ThresholdOrigin } from '../../api/values.js';
import type { Backups } from '../../backup/backups.js';
import { CodedError } from '../../base/coded-error.js';
import { giveWay } from '../../base/loop-share.js';
import { Turnstile } from '../../base/turnstile.js';
import type { ExportRegistry } from '../../export/registry.js';
import type { EventFeed } from '../event-feed.js';
import type { EventHistory } from '../event-history.js';
import type { ServerEvent, ThresholdPassed } from '../happening.js';
import { FreeSpace } from './free-space.js';
import {
  bitmapKey,
  commitTimes,
  type Reading,
  readExport,
  readPlace,
  type Side,
  type Surroundings,
} from './reading.js';
import type { ThresholdSpec } from './threshold-spec.js';

/** The most that commands can add, because each is read once a second for each export. */
const MAX_ADDED = 100;

export interface ThresholdsOptions {
  /** Those of the configuration, and those that commands have added. */
  readonly configured: readonly ThresholdSpec[];
  readonly added: readonly ThresholdSpec[];
  /** Makes the list of those that commands have added durable, or rejects. */
  readonly save: (added: readonly ThresholdSpec[]) => Promise<void>;
  readonly exports: ExportRegistry;
  readonly backups: Pick<Backups, 'list'>;
  readonly events: EventFeed;
  readonly history: EventHistory;
  readonly places: { readonly state: string; readonly scratch: string };
  readonly freeSpace?: FreeSpace;
  /** Returns milliseconds. */
  readonly now?: () => number;
}

/** A threshold that is crossed: where, and since when, in ISO 8601. */
interface Crossing extends Reading {
  readonly since: string;
}

interface Watched {
  readonly spec: ThresholdSpec;
  readonly origin: ThresholdOrigin;
  /** By the export; '' for none. */
  readonly crossed: Map<string, Crossing>;
  /** How often it was crossed since the start. */
  count: number;
}

/** A threshold, and where it is crossed now. */
export interface ListedThreshold extends Pick<Watched, 'spec' | 'origin' | 'count'> {
  readonly crossings: readonly Crossing[];
}

/**
 * Tells when something goes beyond a threshold, once, and when it has come back. What had been crossed when the server
 * stopped is known from the history, and is not told again.
 */
export class Thresholds {
  /** By name. */
  private readonly watched = new Map<string, Watched>();
  private readonly changes = new Turnstile(1);
  private readonly seenAt = new Map<string, number>();
  private readonly freeSpace: FreeSpace;
  private readonly now: () => number;
  private isReading = false;

  /** The configuration wins over a threshold of the same name that was added. */
  constructor(private readonly options: ThresholdsOptions) {
    this.now = options.now ?? Date.now;
    this.freeSpace = options.freeSpace ?? new FreeSpace(this.now);
    for (const spec of options.added) this.watch(spec, 'command');
    for (const spec of options.configured) this.watch(spec, 'configuration');
    for (const event of options.history.after(0)) {
      if (event.type === 'threshold-crossed' || event.type === 'threshold-cleared') this.remember(event);
    }
  }

  list(): ListedThreshold[] {
    return [...this.watched.values()].map(({ spec, origin, crossed, count }) => {
      return { spec, origin, count, crossings: [...crossed.values()] };
    });
  }

  /** @throws CodedError BAD_REQUEST, STORE_UNUSABLE */
  add(spec: ThresholdSpec): Promise<ListedThreshold> {
    return this.changes.pass(async () => {
      if (this.watched.has(spec.name)) {
        throw new CodedError('BAD_REQUEST', `there is a threshold ${spec.name} already`, 'give it another name');
      }
      const added = this.added();
      if (added.length >= MAX_ADDED) {
        throw new CodedError('BAD_REQUEST', `there are ${MAX_ADDED} added thresholds already`, 'remove one first');
      }
      await this.options.save([...added, spec]);
      const { origin, count } = this.watch(spec, 'command');
      return { spec, origin, count, crossings: [] };
    });
  }

  /** @throws CodedError THRESHOLD_NOT_FOUND, BAD_REQUEST, STORE_UNUSABLE */
  remove(name: string): Promise<void> {
    return this.changes.pass(async () => {
      const watched = this.watched.get(name);
      if (!watched) {
        throw new CodedError(
          'THRESHOLD_NOT_FOUND',
          `there is no threshold ${name}`,
          'tidemark threshold list shows them',
        );
      }
      if (watched.origin === 'configuration') {
        const hint = 'remove it there, and run tidemark reload';
        throw new CodedError('BAD_REQUEST', `the configuration sets the threshold ${name}`, hint);
      }
      await this.options.save(this.added().filter((spec) => spec.name !== name));
      this.drop(watched);
    });
  }

  /** Replaces the thresholds of the configuration. Those that it still has stay as they are. Never rejects. */
  configure(specs: readonly ThresholdSpec[]): Promise<void> {
    return this.changes.pass(async () => {
      const wanted = new Map(specs.map((spec) => [spec.name, spec]));
      for (const watched of [...this.watched.values()]) {
        const { spec, origin } = watched;
        const stays = origin === 'command' ? !wanted.has(spec.name) : isDeepStrictEqual(wanted.get(spec.name), spec);
        if (!stays) this.drop(watched);
        else if (origin === 'configuration') wanted.delete(spec.name);
      }
      for (const spec of wanted.values()) this.watch(spec, 'configuration');
    });
  }

  /** Called once a second. */
  async tick(): Promise<void> {
    if (this.isReading || this.watched.size === 0) return;
    this.isReading = true;
    try {
      const around = this.lookAround();
      for (const watched of [...this.watched.values()]) await this.read(watched, around);
    } finally {
      this.isReading = false;
    }
  }

  private watch(spec: ThresholdSpec, origin: ThresholdOrigin): Watched {
    const watched = { spec, origin, crossed: new Map<string, Crossing>(), count: 0 };
    this.watched.set(spec.name, watched);
    return watched;
  }

  private drop(watched: Watched): void {
    this.clear(watched, watched.crossed.values());
    this.watched.delete(watched.spec.name);
  }

  private added(): ThresholdSpec[] {
    return [...this.watched.values()].filter(({ origin }) => origin === 'command').map(({ spec }) => spec);
  }

  /** What an earlier run of the server has told. */
  private remember(event: ThresholdPassed & ServerEvent): void {
    const { type, id: _id, at, threshold, kind, by: _by, ...reading } = event;
    const watched = this.watched.get(threshold);
    if (watched?.spec.kind !== kind) return;
    if (type === 'threshold-crossed') watched.crossed.set(reading.export ?? '', { ...reading, since: at });
    else watched.crossed.delete(reading.export ?? '');
  }

  private lookAround(): Surroundings {
    const now = this.now();
    const needsTimes = [...this.watched.values()].some(({ spec }) => spec.kind === 'backup-age');
    const times = needsTimes ? commitTimes(this.options.backups.list()) : new Map<string, number>();
    const lastBackup = (name: string, bitmap: string) =>
      times.get(bitmapKey(name, bitmap)) ?? this.firstSight(name, now);
    return { freeSpace: this.freeSpace, places: this.options.places, lastBackup, now };
  }

  /** A disk of which there is no backup at all counts from when this server first saw it. */
  private firstSight(name: string, now: number): number {
    const known = this.seenAt.get(name) ?? now;
    this.seenAt.set(name, known);
    return known;
  }

  private async read(watched: Watched, around: Surroundings): Promise<void> {
    const { spec, crossed } = watched;
    const gone = new Map(crossed);
    const note = (reading: Reading, side: Side) => {
      gone.delete(reading.export ?? '');
      this.note(watched, reading, side);
    };
    if (spec.kind === 'room' && spec.of !== 'disk') {
      const { reading, side } = readPlace({ ...spec, of: spec.of }, around);
      note(reading, side);
    } else {
      for (const served of this.options.exports.list()) {
        await giveWay();
        const read = readExport(spec, served, around);
        if (read) note(read.reading, read.side);
      }
    }
    // The export or its bitmap was removed.
    this.clear(watched, gone.values());
  }

  private clear(watched: Watched, crossings: Iterable<Crossing>): void {
    for (const { since: _, ...reading } of [...crossings]) this.note(watched, reading, 'within');
  }

  private note(watched: Watched, reading: Reading, side: Side): void {
    const { spec, crossed } = watched;
    // It may have been removed while it was read.
    if (this.watched.get(spec.name) !== watched) return;
    const where = reading.export ?? '';
    const about = { threshold: spec.name, kind: spec.kind, ...reading };
    const before = crossed.get(where);
    if (side === 'within') {
      if (crossed.delete(where)) this.options.events.publish({ type: 'threshold-cleared', ...about });
    } else if (before) crossed.set(where, { ...reading, since: before.since });
    else if (side === 'beyond') {
      watched.count++;
      crossed.set(where, { ...reading, since: new Date(this.now()).toISOString() });
      this.options.events.publish({ type: 'threshold-crossed', ...about });
    }
  }
}
