import { createRequire } from 'node:module';
import { onTestFinished } from 'vitest';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;

/** Receives datagrams on a unix socket, as a service manager does, until the end of the test. */
export class DatagramReceiver {
  private readonly library = (createRequire(import.meta.url)('koffi') as typeof import('koffi')).load(null);
  private readonly receive = this.library.func('recv', 'int64', ['int', 'void *', 'size_t', 'int']);
  private readonly buffer = Buffer.alloc(4096);
  private readonly fd: number;
  private readonly received: string[] = [];

  /** A path, or `@` and a name in the abstract namespace. */
  constructor(readonly address: string) {
    this.fd = this.library.func('socket', 'int', ['int', 'int', 'int'])(AF_UNIX, SOCK_DGRAM, 0);
    const name = Buffer.from(`\0\0${address.replace(/^@/, '\0')}`);
    name.writeUInt16LE(AF_UNIX, 0);
    const bind = this.library.func('bind', 'int', ['int', 'void *', 'uint32']);
    if (bind(this.fd, name, name.length) !== 0) throw new Error(`cannot bind to ${address}`);
    onTestFinished(() => void this.library.func('close', 'int', ['int'])(this.fd));
  }

  /** Everything that was received so far. */
  messages(): readonly string[] {
    for (;;) {
      const length = Number(this.receive(this.fd, this.buffer, this.buffer.length, MSG_DONTWAIT));
      if (length < 0) return this.received;
      this.received.push(this.buffer.toString('utf8', 0, length));
    }
  }
}
