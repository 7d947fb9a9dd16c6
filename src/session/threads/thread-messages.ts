import type { MinBlockBytes } from '../../api/values.js';
import type { DiskAnswer, DiskCall } from '../../export/elsewhere/disk-calls.js';
import type { SharedDisk } from '../../export/elsewhere/disk-sharing.js';
import type { ReplyForm } from '../../protocol/reply-form.js';
import type { DeviceCapabilities } from '../../storage/device/block-device.js';
import type { ServedTimes } from '../busy-threads.js';
import type { BudgetPart } from '../memory-budget.js';

/** What a thread is started with. */
export interface ThreadData {
  /** Its slot in the permits of every disk. */
  readonly slot: number;
  readonly busyPollMicroseconds: number;
  /** The main thread comes first. */
  readonly servedTimes: ServedTimes;
  /** Whether lines of the level debug are logged. A client can cause one with each request. */
  readonly logsDebug: boolean;
  readonly memoryBudgetBytes: number;
  /** What each thread uses of the budget, as in `BudgetPart`. The main thread comes first. */
  readonly memoryParts: Omit<BudgetPart, 'index'>;
}

/** A client whose handshake is over. */
export interface ClientToServe {
  readonly id: number;
  readonly fd: number;
  /** Becomes 1 when the thread takes the descriptor, which belongs to it from then on. */
  readonly taken: Int32Array<SharedArrayBuffer>;
  /** What has been received after the handshake. */
  readonly received: Uint8Array<ArrayBuffer>;
  readonly disk: {
    readonly name: string;
    readonly minBlockBytes: MinBlockBytes;
    readonly capabilities: DeviceCapabilities;
    readonly shared: SharedDisk;
  };
  readonly readOnly: boolean;
  readonly replies: ReplyForm;
  readonly enforceBlockSize: boolean;
  readonly contexts: readonly { readonly id: number; readonly name: string }[];
  readonly counters: Float64Array<SharedArrayBuffer>;
}

/** To a thread. `answer` belongs to the question with this number. */
export type ToThread =
  | { readonly kind: 'serve'; readonly client: ClientToServe }
  | { readonly kind: 'stop'; readonly client: number; readonly reason: string }
  | { readonly kind: 'answer'; readonly question: number; readonly answer: DiskAnswer }
  | { readonly kind: 'end' };

/** From a thread. */
export type FromThread =
  | { readonly kind: 'ask'; readonly client: number; readonly question: number; readonly call: DiskCall }
  | { readonly kind: 'closed'; readonly client: number; readonly reason: string | undefined }
  | {
      readonly kind: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly fields: object;
      readonly message: string;
    };
