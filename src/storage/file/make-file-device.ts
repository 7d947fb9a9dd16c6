import type { FileHandle } from 'node:fs/promises';
import type { Log } from '../../base/log.js';
import { nodePosix } from '../../posix/node-posix.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { ImageFacts } from '../image/image-facts.js';
import { inShare } from './disk-threads.js';
import { FaultLog } from './fault-log.js';
import { FileDevice } from './file-device.js';
import { ImageFile } from './image-file.js';

export interface MakeFileDeviceOptions {
  readonly path: string;
  readonly readOnly: boolean;
  readonly posix: Posix | undefined;
  readonly log: Log;
}

/** Creates the disk on an open file or block device. The disk owns the handle from then on. */
export function makeFileDevice(handle: FileHandle, facts: ImageFacts, options: MakeFileDeviceOptions): FileDevice {
  const { path, readOnly, posix: calls = nodePosix, log } = options;
  const mayPunch = facts.mayPunch && calls.fallocate !== nodePosix.fallocate;
  const { posix, share } = inShare(calls, facts.fileSystem);
  return new FileDevice({
    path,
    handle,
    file: new ImageFile(handle.fd, facts.inMemory, posix, new FaultLog(log, path), share, facts.endsWithin),
    sizeBytes: facts.sizeBytes,
    localTimes: facts.localTimes,
    timesAtOnce: facts.timesAtOnce,
    isBlockDevice: facts.kind === 'block device',
    capabilities: { readOnly, rotational: facts.rotational, trim: mayPunch, fastZero: mayPunch },
    counting: facts.counting,
    zeroing: { alignmentBytes: facts.alignmentBytes, mayPunch },
  });
}
