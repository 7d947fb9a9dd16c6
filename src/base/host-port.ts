/** A TCP address. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export const DEFAULT_NBD_PORT = 10809;

/** Addresses to listen on that stand for every address of the machine. */
const WILDCARDS = new Set(['0.0.0.0', '::']);

/** Parses `HOST:PORT`, with an IPv6 address in brackets. Undefined if the text is invalid. Port 0 means any free port. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  return match && port <= 65535 ? { host: match[1] ?? match[2]!, port } : undefined;
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether a host name or address always means this machine. IPv6 addresses come without brackets. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** The host by which clients on this machine reach a server that listens on `host`. */
export function reachableHost(host: string): string {
  return WILDCARDS.has(host) ? 'localhost' : host;
}
