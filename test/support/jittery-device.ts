import { type Errno, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import type { ExtentList } from '../../src/base/extents.js';
import type { BlockDevice, ZeroOptions } from '../../src/storage/device/block-device.js';
import { FilterDevice } from '../../src/storage/device/filter-device.js';
import type { Random } from './random.js';

/** Calls that wait for their turn. The next one is drawn at random. */
export class Waits {
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly random: Random) {}

  async some(): Promise<void> {
    for (let left = this.random.below(3); left > 0; left--) await new Promise<void>((goOn) => this.waiting.push(goOn));
  }

  /** Lets one call continue. False if none waits. */
  next(): boolean {
    if (this.waiting.length === 0) return false;
    const [goOn] = this.waiting.splice(this.random.below(this.waiting.length), 1);
    goOn!();
    return true;
  }
}

/**
 * At random, answers WOULD_BLOCK, does not know a hole, or waits before and after it calls the device below. One in
 * `failOneIn` writes fails, and writes nothing.
 */
export class JitteryDevice extends FilterDevice {
  constructor(
    inner: BlockDevice,
    private readonly random: Random,
    private readonly waits: Waits,
    private readonly failing: { readonly oneIn: number; readonly errno: Errno } = { oneIn: 0, errno: OK },
  ) {
    super(inner);
  }

  override readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    return this.random.chance(2) ? WOULD_BLOCK : super.readNow(target, start, length, offset);
  }

  override read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.later(() => super.read(target, start, length, offset));
  }

  override holeNow(offset: number, length: number): number {
    return this.random.chance(3) ? 0 : super.holeNow(offset, length);
  }

  override writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    if (this.random.chance(2)) return WOULD_BLOCK;
    return this.fault() || super.writeNow(source, start, length, offset);
  }

  override write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.later(async () => this.fault() || super.write(source, start, length, offset));
  }

  override zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    return this.later(() => super.zero(offset, length, options));
  }

  override trim(offset: number, length: number): Promise<Errno> {
    return this.later(() => super.trim(offset, length));
  }

  override extents(offset: number, length: number, list: ExtentList): Promise<Errno> {
    return this.later(() => super.extents(offset, length, list));
  }

  private fault(): Errno {
    return this.failing.oneIn > 0 && this.random.chance(this.failing.oneIn) ? this.failing.errno : OK;
  }

  private async later(call: () => Promise<Errno>): Promise<Errno> {
    await this.waits.some();
    const errno = await call();
    await this.waits.some();
    return errno;
  }
}
