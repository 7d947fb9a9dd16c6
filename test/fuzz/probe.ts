import { setTimeout as delay } from 'node:timers/promises';
import { Command, Option } from '../../src/protocol/constants.js';
import { encodeOption, encodeRequest, infoData, u32 } from '../support/raw-client.js';
import { FuzzSocket } from './fuzz-socket.js';
import type { Subject } from './subject.js';
import { expectThat } from './target.js';

/** A server that works is never held up for that long, even on a loaded machine. */
const PATIENCE_SECONDS = 15;
const EVERY_MILLISECONDS = 250;
const PROBED = 'tiny';

/** Connects again and again as a new client, which must be answered in time whatever the other clients do. */
export class Probe {
  slowestMilliseconds = 0;
  probes = 0;
  failure: Error | undefined;
  private stopped = false;
  private readonly done: Promise<void>;

  constructor(private readonly subject: Subject) {
    this.done = this.loop();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.done;
  }

  private async loop(): Promise<void> {
    while (!this.stopped && !this.failure) {
      const startedAt = performance.now();
      await Promise.race([this.once(), this.tooLate()]).catch((error: Error) => {
        this.failure = error;
      });
      this.slowestMilliseconds = Math.max(this.slowestMilliseconds, performance.now() - startedAt);
      this.probes++;
      await delay(EVERY_MILLISECONDS);
    }
  }

  private async tooLate(): Promise<void> {
    await delay(PATIENCE_SECONDS * 1000, undefined, { ref: false });
    throw new Error(`a fresh client was not served within ${PATIENCE_SECONDS} s`);
  }

  private async once(): Promise<void> {
    const socket = await FuzzSocket.connect(this.subject.socketPath);
    const go = encodeOption(Option.GO, infoData(PROBED));
    const read = encodeRequest({ command: Command.READ, length: 512 });
    await socket.send(Buffer.concat([u32(3), go, read, encodeRequest({ command: Command.DISC })]));
    await socket.untilOver();
    const simpleReplyBytes = 16 + 512;
    expectThat(socket.available > simpleReplyBytes, () => 'a fresh client was turned away');
    socket.close();
  }
}
