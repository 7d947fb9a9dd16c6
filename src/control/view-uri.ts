import { formatHostPort, reachableHost } from '../base/host-port.js';
import type { ServerFacts } from './control-host.js';

/** The NBD URI of an export for clients on this machine. Prefers the unix socket, because it is faster. */
export function viewUri({ tcp, unix }: ServerFacts['nbd'], exportName: string): string {
  const name = encodeURIComponent(exportName).replaceAll('%40', '@');
  if (unix !== undefined) return `nbd+unix:///${name}?socket=${encodePath(unix)}`;
  const [address] = tcp;
  if (!address) return '';
  return `nbd://${formatHostPort({ ...address, host: reachableHost(address.host) })}/${name}`;
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
