import type { ExportRegistry } from '../../export/registry.js';
import { OptionError, OptionReply } from '../../protocol/constants.js';
import { encodeOptionReply } from '../../protocol/option-codec.js';
import type { Agreement, SelectedContext } from '../agreement.js';

/** What has been agreed so far in one handshake. */
export class Negotiation {
  noZeroes = false;
  structuredReplies = false;
  /** The contexts chosen last, and for which export. */
  selection: { readonly exportName: string; readonly contexts: readonly SelectedContext[] } | undefined;

  /** The chosen contexts as far as they were chosen for that export ("Metadata querying": else they are dropped). */
  contextsFor(exportName: string): readonly SelectedContext[] {
    return this.selection?.exportName === exportName ? this.selection.contexts : [];
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
  ) {}

  reply(type: number, data?: Buffer): void {
    this.send(encodeOptionReply(this.option, type, data));
  }

  ack(): void {
    this.reply(OptionReply.ACK);
  }

  /** `message` is for people; clients show it. */
  refuse(error: OptionError, message: string): void {
    this.reply(error, Buffer.from(message));
  }

  refuseUnknownExport(exportName: string): void {
    this.refuse(OptionError.UNKNOWN, `there is no export "${exportName}"`);
  }
}

/** How the handshake goes on after an option: undefined for the next option, else transmission or the end. */
export type OptionOutcome = { readonly agreement: Agreement } | { readonly closeReason: string } | undefined;

export type OptionHandler = (request: OptionRequest) => OptionOutcome;
