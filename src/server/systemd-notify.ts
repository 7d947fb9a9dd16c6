import type { Log } from '../base/log.js';
import { loadPosix } from '../posix/posix.js';
import type { Posix } from '../posix/posix-calls.js';

type Datagrams = Pick<Posix, 'sendDatagramNow'>;

/** How many signs of life to send in each watchdog interval. systemd recommends at least two. */
const SIGNS_PER_INTERVAL = 3;

/**
 * Reports the state of this process to its service manager (sd_notify). The watchdog messages show that the event loop
 * runs. Does nothing without a service manager, that is without NOTIFY_SOCKET.
 */
export class SystemdNotify {
  private watchdog: NodeJS.Timeout | undefined;

  constructor(
    private readonly env: NodeJS.ProcessEnv,
    private readonly log: Log,
    private readonly posix: Datagrams | undefined = loadPosix(),
  ) {}

  /** The server is ready for clients. */
  ready(): void {
    this.send('READY=1');
    const intervalMicroseconds = Number(this.env.WATCHDOG_USEC);
    const isForUs = this.env.WATCHDOG_PID === undefined || this.env.WATCHDOG_PID === String(process.pid);
    if (!isForUs || !(intervalMicroseconds > 0)) return;
    const sign = () => this.send('WATCHDOG=1');
    this.watchdog = setInterval(sign, intervalMicroseconds / 1000 / SIGNS_PER_INTERVAL);
  }

  /** The server is finishing requests in flight. Watchdog messages continue. */
  stopping(): void {
    this.send('STOPPING=1');
  }

  close(): void {
    clearInterval(this.watchdog);
  }

  private send(message: string): void {
    const { NOTIFY_SOCKET: address } = this.env;
    if (!address) return;
    const result = this.posix?.sendDatagramNow(address, Buffer.from(message)) ?? -1;
    if (result < 0) this.log.warn({ address, message, result }, 'the service manager could not be notified');
  }
}
