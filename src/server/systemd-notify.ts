import type { Log } from '../base/log.js';
import { loadPosix } from '../posix/posix.js';
import type { Posix } from '../posix/posix-calls.js';

type Datagrams = Pick<Posix, 'sendDatagramNow'>;

/** systemd wants a sign of life at least this many times in the interval that it sets. */
const SIGNS_PER_INTERVAL = 3;

/**
 * Tells the service manager that started this process how it is doing (sd_notify), and shows it by a watchdog that the
 * event loop turns. Without a manager, which is to say without NOTIFY_SOCKET, nothing happens.
 */
export class SystemdNotify {
  private watchdog: NodeJS.Timeout | undefined;

  constructor(
    private readonly env: NodeJS.ProcessEnv,
    private readonly log: Log,
    private readonly posix: Datagrams | undefined = loadPosix(),
  ) {}

  /** From now on clients are served. */
  ready(): void {
    this.send('READY=1');
    const intervalMicroseconds = Number(this.env.WATCHDOG_USEC);
    const isForUs = this.env.WATCHDOG_PID === undefined || this.env.WATCHDOG_PID === String(process.pid);
    if (!isForUs || !(intervalMicroseconds > 0)) return;
    const sign = () => this.send('WATCHDOG=1');
    this.watchdog = setInterval(sign, intervalMicroseconds / 1000 / SIGNS_PER_INTERVAL);
  }

  /** What is in flight is being finished. The watchdog goes on. */
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
    if (result < 0) this.log.warn({ address, message, result }, 'the service manager could not be told');
  }
}
