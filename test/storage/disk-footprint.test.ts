import { expect, test } from 'vitest';
import { packDevice, sysfsFolder } from '../../src/storage/image/sysfs.js';

test.each(['8:1', '259:0', '7:300', '5000:70000'])('the number %s is packed as in stat', (text) => {
  expect(sysfsFolder(packDevice(text))).toBe(`/sys/dev/block/${text}`);
});
