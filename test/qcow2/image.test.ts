import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CLUSTER_BYTES } from '../../src/qcow2/clusters.js';
import { Qcow2Image } from '../../src/qcow2/image.js';
import { Qcow2Error } from '../../src/qcow2/image-file.js';
import { writeImage } from '../support/qcow2-files.js';
import { scratchFolder } from '../support/scratch-folder.js';

test.each(['\0', 'a\0b', '/etc/passwd', '../other/full.qcow2', '.', '..', ''])(
  'an image whose backing file is %j is refused as damaged',
  async (name) => {
    const path = join(scratchFolder(), 'image.qcow2');
    await writeImage(path, CLUSTER_BYTES, [1], 'placeholder-for-a-name');
    const file = await open(path, 'r+');
    const { buffer } = await file.read(Buffer.alloc(CLUSTER_BYTES), 0, CLUSTER_BYTES, 0);
    await file.write(Buffer.from(name), 0, undefined, buffer.indexOf('placeholder'));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(Buffer.byteLength(name));
    await file.write(length, 0, 4, 16);
    await file.close();
    const opening = Qcow2Image.open(path);
    await expect(opening).rejects.toThrow(Qcow2Error);
    await expect(opening).rejects.toThrow('its backing file is not in the same folder');
  },
);
