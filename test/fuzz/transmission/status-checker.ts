import { AllocationStatus, CommandFlag } from '../../../src/protocol/constants.js';
import { expectThat } from '../target.js';
import type { DiskModel } from './disk-model.js';
import { NIGHTLY } from './disks.js';
import type { PlannedRequest } from './plan.js';
import { describe } from './wave.js';

/** Checks block status against the protocol document and against the model of the disk. */
export class StatusChecker {
  /** How many bytes each context has covered, by the index of the request and the ID of the context. */
  private readonly told = new Map<number, Map<number, number>>();

  constructor(
    private readonly contexts: ReadonlyMap<number, string>,
    private readonly model: DiskModel | undefined,
    /** Whether a backup has frozen the bitmap, so that it reports about another time. */
    private readonly isFrozen: () => boolean,
  ) {}

  /** Checks one chunk, which is the status of the range in one context. */
  take(index: number, request: PlannedRequest, payload: Buffer, extended: boolean): void {
    const [headBytes, extentBytes] = extended ? [8, 16] : [4, 8];
    const count = (payload.length - headBytes) / extentBytes;
    expectThat(Number.isInteger(count) && count >= 1, () => `a status chunk has ${payload.length} bytes`);
    expectThat(!extended || payload.readUInt32BE(4) === count, () => 'a status chunk has another number of extents');
    const id = payload.readUInt32BE(0);
    const told = this.told.get(index) ?? new Map<number, number>();
    this.told.set(index, told);
    expectThat(this.contexts.has(id) && !told.has(id), () => `a status chunk is of context ${id}`);
    const isOne = (request.flags & CommandFlag.REQ_ONE) !== 0;
    expectThat(!isOne || count === 1, () => `${count} extents answer ${describe(request)}`);
    let covered = 0;
    for (let at = headBytes; at < payload.length; at += extentBytes) {
      const number = (place: number) =>
        extended ? Number(payload.readBigUInt64BE(at + 2 * place)) : payload.readUInt32BE(at + place);
      const [length, status] = [number(0), number(4)];
      expectThat(length > 0 && covered < request.length, () => `an extent of ${length} bytes follows ${covered}`);
      this.compare(this.contexts.get(id)!, Number(request.offset) + covered, length, status);
      covered += length;
    }
    expectThat(!isOne || covered <= request.length, () => `${covered} bytes are told for ${describe(request)}`);
    told.set(id, covered);
  }

  /** Checks that all contexts, or those that were asked for, have covered the same length. */
  finish(index: number, request: PlannedRequest, asked: readonly number[] = [...this.contexts.keys()]): void {
    const told = this.told.get(index) ?? new Map<number, number>();
    const lengths = [...told.values()];
    this.told.delete(index);
    const isWhole =
      told.size === asked.length &&
      asked.every((id) => told.has(id)) &&
      lengths.every((length) => length === lengths[0]);
    expectThat(isWhole, () => `contexts told ${lengths.join(' and ')} bytes for ${describe(request)}`);
  }

  private compare(context: string, offset: number, length: number, status: number): void {
    const { model } = this;
    if (!model) return;
    if (context === 'base:allocation') {
      const isZero = (status & AllocationStatus.ZERO) !== 0;
      expectThat(!isZero || model.mayBeZero(offset, length), () => `${length} bytes at ${offset} are told to be zero`);
    } else if (context.endsWith(`:${NIGHTLY}`) && !this.isFrozen()) {
      model.compareDirty(offset, length, (status & 1) !== 0, NIGHTLY);
    }
  }
}
