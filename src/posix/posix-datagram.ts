import type { Koffi, Native } from './native.js';
import type { Posix } from './posix-calls.js';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const MSG_DONTWAIT_NOSIGNAL = 0x40 | 0x4000;

interface Calls {
  readonly socket: Native;
  readonly sendto: Native;
  readonly close: Native;
}

/** Node does not support datagrams on unix sockets. */
export function bindDatagrams(koffi: Koffi, { socket, sendto, close }: Calls): Posix['sendDatagramNow'] {
  return (path, message) => {
    const fd: number = socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
    if (fd === -1) return -koffi.errno();
    const to = socketAddress(path);
    const sent: number = sendto(fd, message, message.length, MSG_DONTWAIT_NOSIGNAL, to, to.length);
    const result = sent === -1 ? -koffi.errno() : sent;
    close(fd);
    return result;
  };
}

export function bindSend(koffi: Koffi, send: Native): Posix['sendNow'] {
  return (fd, bytes) => {
    const sent = Number(send(fd, bytes, bytes.length, MSG_DONTWAIT_NOSIGNAL));
    return sent === -1 ? -koffi.errno() : sent;
  };
}

/** struct sockaddr_un: the family, then the path. A zero byte instead of the `@` marks an abstract name. */
function socketAddress(path: string): Buffer {
  const address = Buffer.from(`\0\0${path.replace(/^@/, '\0')}`);
  address.writeUInt16LE(AF_UNIX, 0);
  return address;
}
