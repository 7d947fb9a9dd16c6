import { Option, OptionReply } from '../../../src/protocol/constants.js';
import { u32 } from '../../support/raw-client.js';
import { FuzzSocket } from '../fuzz-socket.js';
import type { Subject } from '../subject.js';
import { expectThat, type Target } from '../target.js';
import { takeGreeting, takeOptionReplies } from './option-replies.js';
import { type HandshakePlan, planHandshakes } from './plan.js';

const KNOWN_FLAGS = 3;
const FIXED_NEWSTYLE = 1;
const ERROR = 2 ** 31;

/** Options of every kind, in one handshake after the other. */
export class HandshakeTarget implements Target<readonly HandshakePlan[]> {
  readonly name = 'handshake';
  readonly plan = planHandshakes;

  constructor(private readonly subject: Subject) {}

  async run(plans: readonly HandshakePlan[]): Promise<number> {
    const counts = await Promise.all(plans.map((plan) => this.runOne(plan)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  private async runOne({ clientFlags, options, cuts }: HandshakePlan): Promise<number> {
    const socket = await FuzzSocket.connect(this.subject.socketPath);
    await socket.send(Buffer.concat([u32(clientFlags), ...options.map(({ bytes }) => bytes)]), cuts);
    await takeGreeting(socket);
    const isFixed = (clientFlags & FIXED_NEWSTYLE) !== 0;
    const isSound = (clientFlags & ~KNOWN_FLAGS) >>> 0 === 0;
    if (isSound) await this.takeAnswers(socket, options, isFixed);
    socket.finish();
    // After a broken option anything may arrive, or nothing, because the server takes it for a request.
    await socket.untilOver();
    expectThat(isSound || socket.available === 0, () => 'a client with unknown flags was answered');
    socket.close();
    return options.length;
  }

  private async takeAnswers(socket: FuzzSocket, options: HandshakePlan['options'], isFixed: boolean): Promise<void> {
    for (const [index, { option, endsWith }] of options.entries()) {
      // After a broken length the server may wait forever for data that never arrives.
      if (endsWith === undefined || option === Option.EXPORT_NAME) return;
      const replies = await takeOptionReplies(socket);
      const what = `option ${option}, number ${index} of ${options.length}`;
      expectThat(replies !== undefined, () => `the server closed the connection in place of answering ${what}`);
      const last = replies.at(-1)!;
      expectThat(last.option === option, () => `option ${last.option} was answered in place of ${what}`);
      if (!isFixed) expectThat(last.type >= ERROR, () => `${what} was served without fixed newstyle`);
      else expectThat(endsWith.includes(last.type), () => `${what} was answered with ${last.type.toString(16)}`);
      const isOver = option === Option.ABORT || (option === Option.GO && last.type === OptionReply.ACK);
      if (isOver && isFixed) return;
    }
  }
}
