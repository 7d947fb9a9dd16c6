import { type Errno, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import type { ExtentList } from '../../src/base/extents.js';
import type { ZeroOptions } from '../../src/storage/device/block-device.js';
import { FilterDevice } from '../../src/storage/device/filter-device.js';

export type DeviceCall = 'read' | 'write' | 'zero' | 'trim' | 'flush' | 'cache' | 'extents';

/** Fails or delays calls to the device below on request. A call that fails does not reach that device. */
export class FaultyDevice extends FilterDevice {
  /** The calls so far, in order, without `…Now` calls that answered WOULD_BLOCK. */
  readonly calls: DeviceCall[] = [];
  private readonly failing = new Map<DeviceCall, Errno>();
  private readonly failingOnce = new Map<DeviceCall, Errno[]>();
  private deferring = false;
  private held: (() => void)[] | undefined;

  /** Makes the next such call fail. Several errors are used in order. */
  failNext(call: DeviceCall, errno: Errno): void {
    this.failingOnce.set(call, [...(this.failingOnce.get(call) ?? []), errno]);
  }

  /** Makes every such call fail from now on; with OK, none. */
  fail(call: DeviceCall, errno: Errno): void {
    this.failing.set(call, errno);
  }

  /** Sets whether `…Now` calls answer WOULD_BLOCK and `holeNow` knows nothing. */
  deferAll(deferring: boolean): void {
    this.deferring = deferring;
  }

  /** Keeps the calls that return promises in flight, before they reach the device below, until `release`. */
  hold(): void {
    this.held ??= [];
  }

  release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const proceed of held) proceed();
  }

  /** The number of calls that are being held. */
  get heldCalls(): number {
    return this.held?.length ?? 0;
  }

  override readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    return this.now('read', () => super.readNow(target, start, length, offset));
  }

  override read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.later('read', () => super.read(target, start, length, offset));
  }

  override holeNow(offset: number, length: number): number {
    return this.deferring || this.held ? 0 : super.holeNow(offset, length);
  }

  override writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    return this.now('write', () => super.writeNow(source, start, length, offset));
  }

  override write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.later('write', () => super.write(source, start, length, offset));
  }

  override zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    return this.later('zero', () => super.zero(offset, length, options));
  }

  override trim(offset: number, length: number): Promise<Errno> {
    return this.later('trim', () => super.trim(offset, length));
  }

  override flush(): Promise<Errno> {
    return this.later('flush', () => super.flush());
  }

  override cache(offset: number, length: number): Promise<Errno> {
    return this.later('cache', () => super.cache(offset, length));
  }

  override extents(offset: number, length: number, list: ExtentList): Promise<Errno> {
    return this.later('extents', () => super.extents(offset, length, list));
  }

  private now(call: DeviceCall, proceed: () => Errno | typeof WOULD_BLOCK): Errno | typeof WOULD_BLOCK {
    if (this.deferring || this.held) return WOULD_BLOCK;
    this.calls.push(call);
    return this.takeFailure(call) || proceed();
  }

  private async later(call: DeviceCall, proceed: () => Promise<Errno>): Promise<Errno> {
    this.calls.push(call);
    const held = this.held;
    if (held) await new Promise<void>((resolve) => held.push(resolve));
    return this.takeFailure(call) || proceed();
  }

  private takeFailure(call: DeviceCall): Errno {
    return this.failingOnce.get(call)?.shift() ?? this.failing.get(call) ?? OK;
  }
}
