/** Whether only this machine can be reached by a host name or address; an IPv6 address without its brackets. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
