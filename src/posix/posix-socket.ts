import { closeSync, constants } from 'node:fs';
import { ERANGE } from '../base/errno.js';
import type { Koffi, Native } from './native.js';
import type { PeerCredentials, Posix } from './posix-calls.js';

const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;

/**
 * Numbers that stand for no particular user or group: where there are no credentials, and for all those that the user
 * namespace of this process does not have.
 */
const NOBODIES: ReadonlySet<number> = new Set([0xffff_ffff, 65_534]);

interface Calls {
  readonly fcntl: Native;
  readonly setsockopt: Native;
}

export function bindDuplicate(koffi: Koffi, fcntl: Native): Posix['duplicateNow'] {
  return (fd) => {
    const copy: number = fcntl(fd, F_DUPFD_CLOEXEC, 'int', 0);
    return copy === -1 ? -koffi.errno() : copy;
  };
}

export function bindWaitingSocket(koffi: Koffi, { fcntl, setsockopt }: Calls): Posix['duplicateWaitingNow'] {
  const duplicate = bindDuplicate(koffi, fcntl);
  return (fd, milliseconds) => {
    const copy = duplicate(fd);
    if (copy < 0) return copy;
    const flags: number = fcntl(copy, F_GETFL, 'int', 0);
    const time = timeval(milliseconds);
    const failed =
      [SO_RCVTIMEO, SO_SNDTIMEO].some((option) => setsockopt(copy, SOL_SOCKET, option, time, time.byteLength) === -1) ||
      fcntl(copy, F_SETFL, 'int', flags & ~constants.O_NONBLOCK) === -1;
    if (!failed) return copy;
    const errno = koffi.errno();
    closeSync(copy);
    return -errno;
  };
}

/** More groups than most processes have. */
const USUAL_GROUPS = 32;

export function bindPeer(koffi: Koffi, getsockopt: Native): Posix['peerOfNow'] {
  /** Returns how many bytes were filled; if `target` is too short, how many there are; undefined after another error. */
  const ask = (fd: number, option: number, target: Int32Array): number | undefined => {
    const length = Uint32Array.of(target.byteLength);
    const result: number = getsockopt(fd, SOL_SOCKET, option, target, length);
    return result === 0 || koffi.errno() === ERANGE ? length[0] : undefined;
  };
  const groupsOf = (fd: number): readonly number[] => {
    let groups = new Int32Array(USUAL_GROUPS);
    let bytes = ask(fd, SO_PEERGROUPS, groups) ?? 0;
    if (bytes > groups.byteLength) {
      groups = new Int32Array(bytes / Int32Array.BYTES_PER_ELEMENT);
      bytes = ask(fd, SO_PEERGROUPS, groups) ?? 0;
    }
    const found = new Uint32Array(groups.buffer).subarray(0, bytes / Uint32Array.BYTES_PER_ELEMENT);
    return [...found].filter((gid) => !NOBODIES.has(gid));
  };
  return (fd): PeerCredentials | undefined => {
    // struct ucred: pid, uid, gid.
    const ucred = new Int32Array(3);
    if (ask(fd, SO_PEERCRED, ucred) !== ucred.byteLength) return undefined;
    const [, uid = 0, gid = 0] = new Uint32Array(ucred.buffer);
    if (NOBODIES.has(uid)) return undefined;
    return { uid, gid: NOBODIES.has(gid) ? undefined : gid, groups: groupsOf(fd) };
  };
}

/** struct timeval: seconds and microseconds. */
function timeval(milliseconds: number): BigInt64Array {
  return new BigInt64Array([BigInt(Math.floor(milliseconds / 1000)), BigInt((milliseconds % 1000) * 1000)]);
}
