import type { ServerFacts } from './control-host.js';

/** Addresses that stand for all of a machine's. */
const WILDCARDS = new Set(['0.0.0.0', '::']);

/** Where a client on this machine finds an export, by the NBD URI specification; the unix socket first, for its speed. */
export function viewUri({ tcp, unix }: ServerFacts['nbd'], exportName: string): string {
  const name = encodeURIComponent(exportName).replaceAll('%40', '@');
  if (unix !== undefined) return `nbd+unix:///${name}?socket=${encodePath(unix)}`;
  const [address] = tcp;
  if (!address) return '';
  const host = WILDCARDS.has(address.host) ? 'localhost' : address.host;
  return `nbd://${host.includes(':') ? `[${host}]` : host}:${address.port}/${name}`;
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
