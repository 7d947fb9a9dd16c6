import type { MinBlockBytes } from '../../api/values.js';
import type { AccountingMemory } from '../../export/accounting/accounting-memory.js';
import type { DiskAnswer, DiskCall } from '../../export/elsewhere/disk-calls.js';
import type { SharedDisk } from '../../export/elsewhere/disk-sharing.js';
import type { ReplyForm } from '../../protocol/reply-form.js';
import type { DeviceCapabilities } from '../../storage/device/block-device.js';
import type { TlsProof } from '../../tls/door.js';
import type { TlsRefusal } from '../../tls/refusals.js';
import type { TlsSettings } from '../../tls/tls-settings.js';
import type { ServedTimes } from '../busy-threads.js';
import type { BudgetPart } from '../memory-budget.js';

/** Lines below this level are not sent to the owner, because a client can cause one with each request. */
export type ThreadLogLevel = 'trace' | 'debug' | 'info';

/** What a thread is started with. */
export interface ThreadData {
  /** Its slot in the permits of every disk. */
  readonly slot: number;
  readonly busyPollMicroseconds: number;
  /** The main thread comes first. */
  readonly servedTimes: ServedTimes;
  readonly logLevel: ThreadLogLevel;
  readonly memoryBudgetBytes: number;
  /** What each thread uses of the budget, as in `BudgetPart`. The main thread comes first. */
  readonly memoryParts: Omit<BudgetPart, 'index'>;
}

/** The descriptor of a client. */
export interface ClientDescriptor {
  readonly id: number;
  readonly fd: number;
  /** Becomes 1 when the thread takes the descriptor, which belongs to it from then on. */
  readonly taken: Int32Array<SharedArrayBuffer>;
}

/** What a client has agreed on in its handshake. */
export interface ClientTerms {
  readonly id: number;
  readonly disk: {
    readonly name: string;
    readonly minBlockBytes: MinBlockBytes;
    readonly sizeBytes: number;
    readonly capabilities: DeviceCapabilities;
    /** Undefined if only the owner can use the disk. */
    readonly shared: SharedDisk | undefined;
  };
  readonly readOnly: boolean;
  readonly replies: ReplyForm;
  readonly enforceBlockSize: boolean;
  readonly contexts: readonly { readonly id: number; readonly name: string }[];
  readonly accounting: AccountingMemory;
}

/** A client whose handshake is over. */
export interface ClientToServe extends ClientTerms, ClientDescriptor {
  /** What has been received after the handshake. */
  readonly received: Uint8Array<ArrayBuffer>;
}

/** The answer to what a client has said in its handshake. */
export interface Haggled {
  /** For the client. */
  readonly say: Uint8Array<ArrayBuffer>;
  /** There are more, for which the thread has to ask. Otherwise everything that was said has been answered. */
  readonly more: boolean;
}

/** To a thread. `answer` belongs to the question with this number. */
export type ToThread =
  | { readonly kind: 'serve'; readonly client: ClientToServe }
  | { readonly kind: 'secure'; readonly client: ClientDescriptor }
  | ({ readonly kind: 'haggled'; readonly client: number } & Haggled)
  | {
      readonly kind: 'begin';
      readonly client: ClientTerms;
      readonly say: Haggled['say'];
      /** How much of what was said last is behind the handshake. */
      readonly leftoverBytes: number;
    }
  | { readonly kind: 'stop' | 'cut'; readonly client: number; readonly reason: string }
  | { readonly kind: 'tls'; readonly settings: TlsSettings; readonly handshakeMilliseconds: number }
  | { readonly kind: 'log-level'; readonly level: ThreadLogLevel }
  | { readonly kind: 'answer'; readonly question: number; readonly answer: DiskAnswer }
  | { readonly kind: 'end' };

/** From a thread. */
export type FromThread =
  | { readonly kind: 'ask'; readonly client: number; readonly question: number; readonly call: DiskCall }
  | { readonly kind: 'secured'; readonly client: number; readonly proof: TlsProof }
  | { readonly kind: 'haggle'; readonly client: number; readonly bytes: Uint8Array }
  | {
      readonly kind: 'closed';
      readonly client: number;
      readonly reason: string | undefined;
      readonly refused?: TlsRefusal;
    }
  | {
      readonly kind: 'log';
      readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error';
      readonly fields: object;
      readonly message: string;
    };
