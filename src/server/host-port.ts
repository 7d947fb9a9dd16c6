export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Parses `HOST:PORT`, with an IPv6 address in brackets. Undefined if the text is invalid. Port 0 means any free port. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  return match && port <= 65535 ? { host: match[1] ?? match[2]!, port } : undefined;
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
