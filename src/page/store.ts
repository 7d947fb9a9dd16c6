import type { Backup } from '../api/backup.js';
import type { Event, EventPage } from '../api/event.js';
import type { Client, ExportDescription, UnservedExport } from '../api/export.js';
import type { Server } from '../api/server.js';
import type { ServerStatistics } from '../api/statistics.js';
import type { Threshold } from '../api/threshold.js';
import { type ApiClient, ApiProblem } from './api-client.js';
import { followEvents } from './event-stream.js';
import { RateHistory, type Rates } from './rates.js';

/** What the page shows. Never changed; each poll makes another one. */
export interface View {
  readonly server?: Server;
  readonly exports: readonly ExportDescription[];
  /** Exports that are kept, but could not be opened. */
  readonly unserved: readonly UnservedExport[];
  readonly clients: readonly Client[];
  /** Empty for all but administrators of all exports. */
  readonly thresholds: readonly Threshold[];
  /** The active ones first, then the others, the latest first. */
  readonly backups: readonly Backup[];
  /** The latest first. */
  readonly events: readonly Event[];
  /** The id before which there are older events; null: there are none. Undefined: not known yet. */
  readonly olderThan?: number | null;
  /** By name of the export, the oldest first. */
  readonly rates: ReadonlyMap<string, readonly Rates[]>;
  /** By name of the export: what 99 of 100 requests of the last minute took at most. */
  readonly slow: ReadonlyMap<string, Slowest>;
  /** Goes up when something happened, or may have happened while the page could not hear of it. */
  readonly changes: number;
  /** The time of the server's last answer, in milliseconds. */
  readonly at: number;
  /** Why the last poll failed. */
  readonly fault?: string;
}

const POLL_MILLISECONDS = 1000;
/** As many as the server keeps in memory. */
const MOST_EVENTS = 2000;
const EVENTS_PER_PAGE = 50;
const RETRY_MILLISECONDS = 2000;
const FAST_SHARE = 0.99;

/** In seconds, infinite if it is above the last bound of the histogram; undefined if there were no requests. */
export interface Slowest {
  readonly read: number | undefined;
  readonly write: number | undefined;
}

interface Listed {
  readonly exports: readonly ExportDescription[];
  readonly unserved: readonly UnservedExport[];
}

interface Surroundings {
  readonly client: ApiClient;
  /** Whether somebody can see the page. */
  readonly isVisible: () => boolean;
  /** Called when the server takes the token no more. */
  readonly onRefused: () => void;
  readonly now?: () => number;
}

/** Asks the server again and again, and tells the page what it learned. */
export class Store {
  view: View = {
    exports: [],
    unserved: [],
    clients: [],
    thresholds: [],
    backups: [],
    events: [],
    rates: new Map(),
    slow: new Map(),
    changes: 0,
    at: 0,
  };
  private readonly ending = new AbortController();
  private readonly listeners = new Set<() => void>();
  private readonly histories = new Map<string, RateHistory>();
  private readonly now: () => number;

  constructor(private readonly surroundings: Surroundings) {
    this.now = surroundings.now ?? Date.now;
  }

  get client(): ApiClient {
    return this.surroundings.client;
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Polls until `stop` is called. */
  start(): void {
    void this.followAlways();
    void this.pollAlways();
  }

  stop(): void {
    this.ending.abort();
  }

  /** Adds a page of events that are older than those that are known. */
  async loadOlderEvents(): Promise<void> {
    const { olderThan } = this.view;
    const query = new URLSearchParams({ limit: String(EVENTS_PER_PAGE) });
    if (typeof olderThan === 'number') query.set('before', String(olderThan));
    const { events, next } = await this.client.get<EventPage>(`/v1/events/history?${query}`, this.ending.signal);
    this.change({ events: [...this.view.events, ...events], olderThan: next });
  }

  /** Asks for everything once. */
  async poll(): Promise<void> {
    const { signal } = this.ending;
    try {
      const server = await this.client.get<Server>('/v1/server', signal);
      const { exports, unserved } = await this.client.get<Listed>('/v1/exports', signal);
      const statistics = await this.client.get<ServerStatistics>('/v1/statistics', signal);
      const at = this.now();
      const { clients } = await this.client.get<{ clients: Client[] }>('/v1/clients', signal);
      const { backups } = await this.client.get<{ backups: Backup[] }>('/v1/backups', signal);
      const thresholds = await this.thresholds(server);
      const { rates, slow } = this.judge(statistics, at);
      const { fault: _gone, ...before } = this.view;
      this.view = before;
      this.change({ server, exports, unserved, clients, thresholds, backups: inOrder(backups), rates, slow, at });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiProblem && error.status === 401) return this.surroundings.onRefused();
      for (const history of this.histories.values()) history.interrupt();
      const fault = error instanceof ApiProblem ? error.message : 'the server does not answer';
      this.change({ fault });
    }
  }

  private async thresholds({ pid }: Server): Promise<readonly Threshold[]> {
    // Those who may not see the process may not see thresholds.
    if (pid === undefined) return [];
    const { signal } = this.ending;
    return (await this.client.get<{ thresholds: Threshold[] }>('/v1/thresholds', signal)).thresholds;
  }

  private async followAlways(): Promise<void> {
    const { signal } = this.ending;
    while (!signal.aborted && this.view.olderThan === undefined) {
      // The next poll says why.
      await this.loadOlderEvents().catch(() => new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS)));
    }
    const after = this.view.events[0]?.id ?? 0;
    const onEvent = (event: Event) => this.take(event);
    const onBegin = () => this.change({ changes: this.view.changes + 1 });
    await followEvents(this.client, { after, onEvent, onBegin, signal });
  }

  private async pollAlways(): Promise<void> {
    while (!this.ending.signal.aborted) {
      if (this.surroundings.isVisible()) await this.poll();
      await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
    }
  }

  private take(event: Event): void {
    const all = [event, ...this.view.events];
    const events = all.slice(0, MOST_EVENTS);
    this.change({
      events,
      changes: this.view.changes + 1,
      ...(events.length < all.length && { olderThan: events.at(-1)!.id }),
    });
  }

  private judge({ exports }: ServerStatistics, at: number): Pick<View, 'rates' | 'slow'> {
    const names = new Set(exports.map(({ name }) => name));
    for (const name of this.histories.keys()) if (!names.has(name)) this.histories.delete(name);
    for (const { name, commands } of exports) {
      const history = this.histories.get(name) ?? new RateHistory();
      this.histories.set(name, history);
      history.add({ at, commands });
    }
    const all = [...this.histories];
    const slowOf = (history: RateHistory): Slowest => ({
      read: history.latency('read', FAST_SHARE),
      write: history.latency('write', FAST_SHARE),
    });
    return {
      rates: new Map(all.map(([name, { points }]) => [name, points])),
      slow: new Map(all.map(([name, history]) => [name, slowOf(history)])),
    };
  }

  private change(what: Partial<View>): void {
    this.view = { ...this.view, ...what };
    for (const listener of this.listeners) listener();
  }
}

function inOrder(backups: readonly Backup[]): Backup[] {
  const active = (backup: Backup) => Number(backup.state === 'active');
  return [...backups].sort((a, b) => active(b) - active(a) || b.startedAt.localeCompare(a.startedAt));
}
