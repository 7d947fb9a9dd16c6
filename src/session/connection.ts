import type { Socket } from 'node:net';
import { Access, type Policy } from '../access/access.js';
import { type Identity, proven } from '../access/identity.js';
import type { Applicant, Refusals } from '../access/refusals.js';
import { type AccountingMemory, newAccountingMemory } from '../export/accounting/accounting-memory.js';
import { countersOf, hasChangedDisk } from '../export/accounting/disk-accounting.js';
import type { ExportRegistry } from '../export/registry.js';
import { SeenExports } from '../export/seen-exports.js';
import type { ClientConnection, ConnectionSummary, ServedDisk } from '../export/served-disk.js';
import type { TlsDoor } from '../tls/door.js';
import type { TlsMode } from '../tls/tls-mode.js';
import type { Agreement } from './agreement.js';
import { isGoodbye } from './close-reason.js';
import { explainRefusal, type MissedExport } from './explain-refusal.js';
import { encodeGreeting, Handshake } from './handshake.js';
import { type Carrier, Link, type LinkHost, type Phase } from './link.js';
import type { OptionHost, ServerTerms } from './options/option-handler.js';
import type { ReceiveBuffer } from './receive-buffer.js';
import { type Securing, secureHere } from './securing.js';
import type { ClientThreads } from './threads/client-threads.js';
import type { MovedClient } from './threads/moved-client.js';
import { transmissionOver } from './transmission-over.js';

/** How long a handshake may continue when the server is stopping. */
const HANDSHAKE_GRACE_MILLISECONDS = 1_000;

/** What all connections of a server share. */
export interface ConnectionHost extends LinkHost {
  readonly registry: ExportRegistry;
  readonly policy: Policy;
  readonly refusals: Refusals;
  readonly terms: ServerTerms;
  readonly handshakeTimeoutMilliseconds: number;
  /** Undefined if there is no TLS. */
  tls?: { readonly mode: Exclude<TlsMode, 'none'>; readonly door: TlsDoor } | undefined;
  /** Undefined if this thread serves all clients. */
  readonly threads?: ClientThreads | undefined;
}

export interface Peer {
  /** Describes the client, for people. */
  readonly client: string;
  /** Where the client comes from: the same for all clients of one machine, or of one user of this machine. */
  readonly origin: string;
  readonly identity: Identity;
}

let lastId = 0;

/** Of clients that do not use a disk. */
const nothingDone: AccountingMemory = newAccountingMemory([]);

/**
 * The connection of one client: handshake, then transmission, then the end. The handshake is always made here. The
 * transmission may move to another thread.
 */
export class Connection implements ClientConnection, Phase {
  readonly id = ++lastId;
  /** Resolves when the connection is closed and none of its requests is in flight. */
  readonly closed: Promise<void>;
  readonly client: string;
  readonly origin: string;
  accounting = nothingDone;
  readonly connectedAtMilliseconds = performance.now();
  /** A handshake has nothing in flight, and its options need no memory beyond the room for them. */
  readonly idle = true;
  readonly lacksMemory = false;
  /** Why the handshake ended the connection. */
  closeReason: string | undefined;
  private readonly connectedAt = new Date();
  private link: Link;
  /** Carries the handshake. */
  private carrier: Carrier;
  /** TLS has begun: resolves with the reason when the connection has closed. */
  private encrypted: Promise<string | undefined> | undefined;
  /** The version of TLS. */
  private tls: string | undefined;
  /** While TLS begins. */
  private securing: Securing | undefined;
  /** Why this server ended the TLS handshake. */
  private cutReason: string | undefined;
  private seen: SeenExports;
  private toldOfTls = false;
  /** An export was refused. */
  private wasRefused = false;
  private readonly handshake: Handshake;
  private readonly handshakeTimer: NodeJS.Timeout;
  private agreement: Agreement<ServedDisk> | undefined;
  private moved: MovedClient | undefined;

  constructor(
    accepted: Socket,
    private readonly peer: Peer,
    private readonly host: ConnectionHost,
  ) {
    this.client = peer.client;
    this.origin = peer.origin;
    this.link = new Link({ accepted }, host, this.id);
    this.carrier = this.link;
    const terms = { ...host.terms, tls: host.tls?.mode ?? ('none' as const) };
    this.seen = this.seenBy(peer.identity);
    const missed: OptionHost['missed'] = (name, why) => this.noteMiss(name, why);
    this.handshake = new Handshake(this.seen, this.link.output, terms, missed);
    this.handshakeTimer = setTimeout(() => this.giveUp(), host.handshakeTimeoutMilliseconds);
    this.closed = this.untilClosed();
    this.link.enter(this);
    this.link.output.send(encodeGreeting());
  }

  describe(): ConnectionSummary {
    const { id, client, tls } = this;
    const connectedAt = this.connectedAt.toISOString();
    return { id, client, connectedAt, ...countersOf(this.accounting), ...(tls && { tls }) };
  }

  drain(): Promise<void> {
    if (!this.undecided) this.stop('the server closed the export');
    else {
      this.handshake.shuttingDown = true;
      setTimeout(() => this.stop('the server is stopping'), HANDSHAKE_GRACE_MILLISECONDS).unref();
    }
    return this.closed;
  }

  /** True until the client has chosen an export. Nothing is in flight before. */
  get undecided(): boolean {
    return this.agreement === undefined;
  }

  /** After the rules have changed: ends the connection if its client may not use the export any more as was agreed. */
  recheckRights(): void {
    const { agreement } = this;
    if (agreement && !this.seen.mayUse(agreement.export, agreement.readOnly)) this.stop('its rights were taken away');
  }

  giveWay(): void {
    const reason = 'closed to make room for another client before it chose an export';
    if (this.securing) this.cutTls(this.securing, reason);
    else this.carrier.cut(reason);
  }

  /** The handshake: as a phase of the link. */
  consume(input: ReceiveBuffer): void {
    const { handshake, carrier } = this;
    handshake.consume(input);
    // When there is no room, the 'drain' event continues.
    if (handshake.answering && carrier.output.hasRoom) setImmediate(() => carrier.advance());
    this.takeOutcome();
  }

  get canBegin(): boolean {
    return this.carrier.output.hasRoom && !this.handshake.answering;
  }

  private seenBy(identity: Identity): SeenExports {
    return new SeenExports(this.host.registry, new Access(this.host.policy, identity));
  }

  private giveUp(): void {
    const reason = 'did not finish the handshake in time';
    this.host.refusals.note(this.applicant, 'idle', { reason }, `hung up on a client: it ${reason}`);
    this.stop(reason);
  }

  private noteMiss(exportName: string, missed: MissedExport): void {
    const explained = explainRefusal(this.seen, exportName, missed);
    if (!explained || (missed === 'TLS is required' && this.toldOfTls)) return;
    this.wasRefused = true;
    this.toldOfTls ||= missed === 'TLS is required';
    const { attempt, reason, sentence } = explained;
    this.host.refusals.note(this.applicant, attempt, { identity: this.seen.who, reason }, sentence);
  }

  private get applicant(): Applicant {
    return { over: 'nbd', client: this.client, origin: this.origin };
  }

  private stop(reason: string): void {
    if (this.moved) this.moved.stop(reason);
    else if (this.securing) this.cutTls(this.securing, reason);
    else this.carrier.stop(reason);
  }

  private cutTls(securing: Securing, reason: string): void {
    this.cutReason ??= reason;
    securing.cut(reason);
  }

  private takeOutcome(): void {
    const { outcome } = this.handshake;
    if (!outcome) return;
    if ('startTls' in outcome) {
      this.startTls();
      return;
    }
    clearTimeout(this.handshakeTimer);
    if ('closeReason' in outcome) this.closeReason = outcome.closeReason;
    else if (!outcome.agreement.export.attach(this))
      this.closeReason = 'asked for an export that is being closed or made smaller';
    else this.beginTransmission(outcome.agreement);
  }

  private startTls(): void {
    const { link, host, id } = this;
    this.securing = host.threads?.secure(link, id, host) ?? this.secureHere();
    if (this.securing) this.encrypted = this.secure(this.securing);
    else this.closeReason = 'sent STARTTLS while it did not read the answers before';
  }

  private secureHere(): Securing | undefined {
    const { link, host, id } = this;
    host.threads?.stays(this);
    return host.tls && secureHere(link, host.tls.door, host, id);
  }

  /** Resolves with the reason when the connection has closed. */
  private async secure(securing: Securing): Promise<string | undefined> {
    const outcome = await securing.outcome;
    this.securing = undefined;
    if ('refused' in outcome) {
      // Whoever cut it has said why, and to make room is no fault of the client.
      if (this.cutReason !== undefined) return this.cutReason;
      const { refused, code } = outcome;
      const fields = { reason: refused, code };
      this.host.refusals.note(this.applicant, 'tls', fields, `refused a TLS handshake: ${refused}`);
      return refused;
    }
    const { carrier, proof } = outcome;
    this.host.log.debug({ connection: this.id, client: this.client, ...proof }, 'TLS begins');
    this.tls = proof.protocol;
    this.carrier = carrier;
    if (carrier instanceof Link) this.link = carrier;
    this.seen = this.seenBy(proven(this.peer.identity, proof));
    this.handshake.secured(this.seen, carrier.output);
    carrier.enter(this);
    carrier.advance();
    return carrier.closed;
  }

  private beginTransmission(agreement: Agreement<ServedDisk>): void {
    this.agreement = agreement;
    this.host.refusals.forgive(this.origin);
    const facts = { connection: this.id, client: this.client, ...summarize(agreement) };
    this.host.log.debug(facts, 'transmission begins');
    // With TLS, the client is in the right thread already.
    if (this.encrypted) this.moved = this.carrier.begin?.(agreement);
    else this.moved = this.host.threads?.move(this.link, agreement, this.id);
    this.accounting = this.moved?.accounting ?? newAccountingMemory(agreement.export.latencyBounds);
    if (this.moved) return;
    this.link.enter(transmissionOver(this.link, agreement, this.host.log, this.id, this.accounting));
  }

  private async untilClosed(): Promise<void> {
    let reason = await this.link.closed;
    if (this.encrypted) reason = await this.encrypted;
    clearTimeout(this.handshakeTimer);
    if (this.moved) reason = await this.moved.closed;
    this.agreement?.export.detach(this);
    const { client, ...counters } = this.describe();
    const agreed = this.agreement && summarize(this.agreement);
    // Most connections change nothing, and would hide the others.
    const didSomething = counters.failedRequests > 0 || hasChangedDisk(this.accounting);
    const isNotable = !isGoodbye(reason) || this.wasRefused || didSomething;
    this.host.log[isNotable ? 'info' : 'debug']({ client, ...agreed, ...counters, reason }, 'connection closed');
  }
}

/** The agreement as fields of the log. */
function summarize({ export: served, replies, contexts }: Agreement) {
  return { export: served.name, replies, contexts: contexts.map(({ context }) => context.name) };
}
