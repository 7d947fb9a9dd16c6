import type { ServerFacts } from './control-host.js';

/** Addresses that stand for every address of the machine. */
const WILDCARDS = new Set(['0.0.0.0', '::']);

/** The NBD URI of an export for clients on this machine. Prefers the unix socket, because it is faster. */
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
