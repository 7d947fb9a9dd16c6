import { type Errno, OK } from '../../base/errno.js';
import type { ExtentList } from '../../base/extents.js';
import { combinerOf, type MetadataContext } from '../metadata-context.js';
import type { AskOwner } from './asked-device.js';

/** A metadata context of a disk that belongs to another thread. */
export class RemoteContext implements MetadataContext {
  readonly combine: MetadataContext['combine'];

  constructor(
    readonly name: string,
    /** Its place among those that the client has selected. */
    private readonly index: number,
    private readonly ask: AskOwner,
  ) {
    this.combine = combinerOf(name);
  }

  async status(offset: number, length: number, list: ExtentList): Promise<Errno> {
    const { limit, maxRuns } = list;
    const { errno, extents } = await this.ask({ call: 'status', context: this.index, offset, length, limit, maxRuns });
    if (errno !== OK || !extents) return errno;
    extents.lengths.forEach((bytes, index) => void list.add(bytes, extents.statuses[index]!));
    return OK;
  }
}
