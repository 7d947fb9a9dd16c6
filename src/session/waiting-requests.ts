import { MIB } from '../base/units.js';
import { Command } from '../protocol/constants.js';
import { Request } from '../protocol/request.js';
import type { MemoryClaim } from './memory-budget.js';

/** How many requests of one client can wait for a disk at the same time, and how much memory they can hold. */
const MAX_WAITING_REQUESTS = 128;
const MAX_WAITING_BYTES = 32 * MIB;
/** The limit for block-status requests is lower: an answer takes a while to compute, and is about 100 KiB long. */
const MAX_WAITING_STATUS = 2;

/** The requests of one connection that wait for their disk. */
export class WaitingRequests {
  private admitted = 0;
  private bytes = 0;
  private status = 0;

  get count(): number {
    return this.admitted;
  }

  get isEmpty(): boolean {
    return this.admitted === 0;
  }

  /** True while the next request must not begin. */
  get isFull(): boolean {
    return (
      this.admitted >= MAX_WAITING_REQUESTS || this.bytes >= MAX_WAITING_BYTES || this.status >= MAX_WAITING_STATUS
    );
  }

  /** Copies a request that has to wait. The copy holds a place here, and `memory` if it needs any, until its release. */
  admit(request: Request, startedAt: number, memory: MemoryClaim | undefined): WaitingRequest {
    return new WaitingRequest(request, startedAt, memory, this);
  }

  /** For `WaitingRequest` alone. */
  change(by: 1 | -1, { command, heldBytes }: WaitingRequest): void {
    this.admitted += by;
    this.bytes += by * heldBytes;
    if (command === Command.BLOCK_STATUS) this.status += by;
  }
}

/** A request that waits for its disk. It is its own guard: whoever answers it releases it, once. */
export class WaitingRequest extends Request {
  /** What its payload or its reply takes. */
  readonly heldBytes: number;
  private isReleased = false;

  constructor(
    request: Request,
    /** When it began, in the time of `performance.now()`. */
    readonly startedAt: number,
    private readonly memory: MemoryClaim | undefined,
    private readonly waiting: WaitingRequests,
  ) {
    super();
    this.copyFrom(request);
    this.heldBytes = memory?.bytes ?? 0;
    waiting.change(1, this);
  }

  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.waiting.change(-1, this);
    this.memory?.release();
  }
}
