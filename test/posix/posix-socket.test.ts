import { expect, test } from 'vitest';
import type { Koffi, Native } from '../../src/posix/native.js';
import { bindPeer } from '../../src/posix/posix-socket.js';

const SO_PEERCRED = 17;

/** What is found out about a peer of which the kernel says this. */
function peerOf(uid: number, gid: number, groups: readonly number[]) {
  const getsockopt = (_fd: number, _level: number, option: number, target: Int32Array, length: Uint32Array) => {
    const answer = option === SO_PEERCRED ? [4711, uid, gid] : groups;
    target.set(answer);
    length[0] = 4 * answer.length;
    return 0;
  };
  return bindPeer({ errno: () => 0 } as Koffi, getsockopt as unknown as Native)(3);
}

test('a peer is its user, its group and its other groups', () => {
  expect(peerOf(1000, 1001, [4, 27])).toEqual({ uid: 1000, gid: 1001, groups: [4, 27] });
  expect(peerOf(0, 0, [])).toEqual({ uid: 0, gid: 0, groups: [] });
});

test.each([65_534, 0xffff_ffff])('the number %i stands for no particular user or group', (nobody) => {
  expect(peerOf(nobody, 1001, [4])).toBe(undefined);
  expect(peerOf(1000, nobody, [4, nobody])).toEqual({ uid: 1000, gid: undefined, groups: [4] });
});
