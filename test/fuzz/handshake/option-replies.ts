import type { OptionReply } from '../../support/raw-client.js';
import type { FuzzSocket } from '../fuzz-socket.js';
import { expectThat } from '../target.js';

const GREETING = Buffer.from('NBDMAGICIHAVEOPT\0\x03', 'latin1');
const REPLY_BYTES = 20;
const REPLY_MAGIC = 0x0003e889045565a9n;
const ACK = 1;
const ERROR = 2 ** 31;
/** Two strings of the greatest length, and the fields around them. */
const MAX_DATA_BYTES = 3 * 4096;

/** @throws WrongAnswer */
export async function takeGreeting(socket: FuzzSocket): Promise<void> {
  expectThat(await socket.has(GREETING.length), () => 'the server closed the connection before its greeting');
  expectThat(socket.take(GREETING.length).equals(GREETING), () => 'the greeting is another one');
}

/**
 * All replies to one option. Undefined if the connection ends before the first, or in the middle where it may.
 * @throws WrongAnswer
 */
export async function takeOptionReplies(
  socket: FuzzSocket,
  mayBreakOff: () => boolean = () => false,
): Promise<OptionReply[] | undefined> {
  const replies: OptionReply[] = [];
  for (;;) {
    if (!(await socket.has(REPLY_BYTES))) {
      const isWhole = socket.available === 0 && replies.length === 0;
      expectThat(isWhole || mayBreakOff(), () => 'the answer to an option is cut off');
      return undefined;
    }
    const head = socket.take(REPLY_BYTES);
    expectThat(head.readBigUInt64BE(0) === REPLY_MAGIC, () => `${head.toString('hex')} is no reply to an option`);
    const [option, type, length] = [head.readUInt32BE(8), head.readUInt32BE(12), head.readUInt32BE(16)];
    expectThat(length <= MAX_DATA_BYTES, () => `the reply to option ${option} has ${length} bytes`);
    expectThat(
      replies.every((reply) => reply.option === option),
      () => `a reply to option ${option} came in between`,
    );
    if (!(await socket.has(length))) {
      expectThat(mayBreakOff(), () => 'the data of a reply is cut off');
      return undefined;
    }
    replies.push({ option, type, data: Buffer.from(socket.take(length)) });
    if (type === ACK || type >= ERROR) return replies;
  }
}
