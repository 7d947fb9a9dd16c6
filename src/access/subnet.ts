import { BlockList, isIP } from 'node:net';
import { isLoopback } from '../base/host-port.js';

type Family = 'ipv4' | 'ipv6';

/** Addresses with a common beginning, or one address. */
export class Subnet {
  private readonly list = new BlockList();

  private constructor(
    private readonly family: Family,
    private readonly address: string,
    bits: number,
  ) {
    this.list.addSubnet(address, bits, family);
  }

  /** Parses `ADDRESS` or `ADDRESS/BITS`. Undefined if the text is invalid. */
  static parse(text: string): Subnet | undefined {
    const [, address = '', bits] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
    const family = familyOf(address);
    if (!family) return undefined;
    const most = family === 'ipv4' ? 32 : 128;
    const given = bits === undefined ? most : Number(bits);
    return given <= most ? new Subnet(family, address, given) : undefined;
  }

  /** Whether it is about this machine alone. One of all addresses is about the network. */
  get isLoopback(): boolean {
    return isLoopback(this.address);
  }

  /** Of normal addresses (see `normalAddress`), so that IPv6 subnets never have an IPv4 address. */
  has(address: string): boolean {
    return familyOf(address) === this.family && this.list.check(address, this.family);
  }
}

function familyOf(address: string): Family | undefined {
  const version = isIP(address);
  if (version === 0) return undefined;
  return version === 4 ? 'ipv4' : 'ipv6';
}
