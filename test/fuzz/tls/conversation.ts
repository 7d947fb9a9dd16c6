import { InfoType, Option, OptionReply } from '../../../src/protocol/constants.js';
import type { OptionReply as Reply } from '../../support/raw-client.js';
import type { FuzzSocket } from '../fuzz-socket.js';
import { takeOptionReplies } from '../handshake/option-replies.js';
import type { PlannedOption } from '../handshake/plan.js';
import { expectThat } from '../target.js';
import type { FuzzDisk } from '../transmission/disks.js';
import { checkAnswer, describedDisk, diskOf, mayUse } from './expectation.js';
import type { Sight } from './sight.js';

const EXPORT_NAME_BYTES = 10;

/** What a handshake has led to. */
export interface Agreed {
  /** Read-only if the client may not write. */
  readonly disk: FuzzDisk;
  readonly structured: boolean;
  readonly extended: boolean;
  readonly blockSizes: boolean;
}

/** The answers to a client's options, in the clear or over TLS. TLS begins a new conversation. */
export class Conversation {
  private structured = false;
  private extended = false;

  constructor(
    private readonly socket: FuzzSocket,
    private readonly sight: Sight,
    /** Whether the server may hang up at any time. */
    private readonly mayBreakOff: () => boolean = () => false,
  ) {}

  /** Undefined if no transmission begins, or the stream is broken. @throws WrongAnswer */
  async takeAnswers(options: readonly PlannedOption[]): Promise<Agreed | undefined> {
    for (const planned of options) {
      const { option, endsWith, exportName } = planned;
      // After a broken length the server may wait forever for data that never arrives.
      if (endsWith === undefined) return undefined;
      if (option === Option.EXPORT_NAME) return this.takeExport(exportName!);
      const replies = await takeOptionReplies(this.socket, this.mayBreakOff);
      if (!replies) {
        expectThat(this.mayBreakOff(), () => `the server closed the connection in place of answering option ${option}`);
        return undefined;
      }
      checkAnswer(planned, replies, this.sight);
      const agreed = this.note(planned, replies);
      if (agreed || option === Option.ABORT) return agreed;
    }
    return undefined;
  }

  private note({ option, exportName }: PlannedOption, replies: readonly Reply[]): Agreed | undefined {
    if (replies.at(-1)!.type !== OptionReply.ACK) return undefined;
    if (option === Option.EXTENDED_HEADERS) this.extended = true;
    if (option === Option.EXTENDED_HEADERS || option === Option.STRUCTURED_REPLY) this.structured = true;
    if (option !== Option.INFO && option !== Option.GO) return undefined;
    const disk = describedDisk(replies, this.sight);
    const asked = exportName === undefined ? disk.name : this.sight.nameFor(exportName);
    expectThat(disk.name === asked, () => `${disk.name} is described in place of ${asked}`);
    if (option === Option.INFO) return undefined;
    const blockSizes = replies.some(({ type, data }) => type === OptionReply.INFO && data[1] === InfoType.BLOCK_SIZE);
    return this.agreeOn(disk, blockSizes);
  }

  private async takeExport(exportName: string): Promise<Agreed | undefined> {
    const { socket, sight } = this;
    const isServed = await socket.has(EXPORT_NAME_BYTES);
    if (!isServed && this.mayBreakOff()) return undefined;
    const isRight = isServed ? mayUse(exportName, sight) : socket.available === 0;
    // With extended headers there is only GO.
    const mayRefuse = this.extended || !mayUse(exportName, sight);
    expectThat(isRight && isServed !== mayRefuse, () => `EXPORT_NAME of "${exportName}": ${socket.available} bytes`);
    if (!isServed) return undefined;
    const head = socket.take(EXPORT_NAME_BYTES);
    const disk = diskOf(Number(head.readBigUInt64BE(0)), head.readUInt16BE(8), sight);
    expectThat(disk.name === sight.nameFor(exportName), () => `${disk.name} is served in place of ${exportName}`);
    return this.agreeOn(disk, false);
  }

  private agreeOn(disk: FuzzDisk, blockSizes: boolean): Agreed {
    const { sight, structured, extended } = this;
    expectThat(mayUse(disk.name, sight), () => `${disk.name} is served to a client that may not read it`);
    return { disk, structured, extended, blockSizes };
  }
}
