import type { ExportRegistry } from '../../export/registry.js';
import type { ServedDisk } from '../../export/served-disk.js';
import { OptionError, OptionReply } from '../../protocol/constants.js';
import { encodeOptionReply } from '../../protocol/option-codec.js';
import { type Agreement, type SelectedContext, transmissionFlags } from '../agreement.js';

/** Characters of a name that an error message repeats; the message must stay a string of the protocol. */
const MAX_QUOTED_NAME = 200;

interface Selection {
  readonly exportName: string;
  readonly served: ServedDisk;
  readonly contexts: readonly SelectedContext[];
}

/** What goes for every client of a server. */
export interface ServerTerms {
  /** A client may connect more than once. */
  readonly multipleConnections: boolean;
}

/** What has been agreed so far in one handshake. */
export class Negotiation {
  noZeroes = false;
  structuredReplies = false;
  /** The contexts chosen last, and for which export. */
  selection: Selection | undefined;

  constructor(readonly terms: ServerTerms) {}

  /** The transmission flags of an export, as far as things have been agreed. */
  flagsOf(served: ServedDisk): number {
    return transmissionFlags(served, this.structuredReplies, this.terms.multipleConnections);
  }

  /**
   * The chosen contexts as far as they were chosen for that export ("Metadata querying": else they are dropped). One of
   * the same name, served in its place since, has others.
   */
  contextsFor(exportName: string, served: ServedDisk): readonly SelectedContext[] {
    const { selection } = this;
    return selection?.exportName === exportName && selection.served === served ? selection.contexts : [];
  }
}

/** One option as it came in, and the way to answer it. */
export class OptionRequest {
  constructor(
    readonly option: number,
    readonly data: Buffer,
    readonly exports: ExportRegistry,
    readonly negotiation: Negotiation,
    /** Sends bytes to the client as they are. */
    readonly send: (bytes: Buffer) => void,
    /** Sends many messages, a few at a time, before the next option is looked at. */
    private readonly sendAll: (messages: Iterator<Buffer>) => void,
  ) {}

  reply(type: number, data?: Buffer): void {
    this.send(encodeOptionReply(this.option, type, data));
  }

  /** One reply for each of `data`, then the ACK. */
  replyEach(type: number, data: Iterable<Buffer>): void {
    this.sendAll(this.encodeEach(type, data));
  }

  ack(): void {
    this.reply(OptionReply.ACK);
  }

  /** `message` is for people; clients show it. */
  refuse(error: OptionError, message: string): void {
    this.reply(error, Buffer.from(message));
  }

  refuseUnknownExport(exportName: string): void {
    const isLong = exportName.length > MAX_QUOTED_NAME;
    const quoted = isLong ? `${exportName.slice(0, MAX_QUOTED_NAME)}…` : exportName;
    this.refuse(OptionError.UNKNOWN, `there is no export "${quoted}"`);
  }

  private *encodeEach(type: number, data: Iterable<Buffer>): Generator<Buffer> {
    for (const one of data) yield encodeOptionReply(this.option, type, one);
    yield encodeOptionReply(this.option, OptionReply.ACK);
  }
}

/** How the handshake goes on after an option: undefined for the next option, else transmission or the end. */
export type OptionOutcome = { readonly agreement: Agreement } | { readonly closeReason: string } | undefined;

export type OptionHandler = (request: OptionRequest) => OptionOutcome;
