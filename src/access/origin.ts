import { isLoopback } from '../base/host-port.js';

/** What clients have in common of which one machine can make as many as it likes. `address` is normal. */
export function originOf(address: string): string {
  return address.includes(':') && !isLoopback(address) ? networkOf(address) : address;
}

/** The first 64 bits of an IPv6 address, which is the least that a site gets. */
function networkOf(address: string): string {
  const [head = '', tail] = address.split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeroes = tail === undefined ? 0 : 8 - first.length - last.length;
  const groups = [...first, ...Array<string>(zeroes).fill('0'), ...last];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
