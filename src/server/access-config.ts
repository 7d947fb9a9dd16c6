import { AccessRules } from '../access/access-rules.js';
import { ruleOf } from '../access/access-spec.js';
import { isLoopback } from '../base/host-port.js';
import type { Log } from '../base/log.js';
import { readAccounts } from './accounts.js';
import type { ServerConfig } from './config.js';
import type { NbdAddresses } from './nbd-addresses.js';

/** The rules of a configuration. @throws CodedError CONFIG_INVALID when a user or a group does not exist */
export async function accessRulesOf({ access }: Pick<ServerConfig, 'access'>): Promise<AccessRules> {
  const accounts = await readAccounts();
  return new AccessRules(access.map((spec) => ruleOf(spec, accounts)));
}

/** Tells the operator what an address is for if nobody can use it, and which rules have no effect. */
export function warnOfAccess(
  { tls, access }: ServerConfig,
  { rules, tcp, knowsPeers }: { rules: AccessRules; tcp: NbdAddresses['tcp']; knowsPeers: boolean },
  log: Log,
): void {
  const hasTls = tls.mode !== 'none';
  const addresses = tcp.map(({ address }) => address).filter((address) => !isLoopback(address));
  if (addresses.length > 0 && !rules.isOpenToNetwork(hasTls)) {
    const rule = 'for example with --access cn:CLIENT,rights=read';
    const hint = hasTls
      ? `add a rule, ${rule}`
      : `set up TLS with --tls-certificates or --tls-psk, and add a rule, ${rule}`;
    log.warn(
      { addresses, hint },
      'other machines can reach the NBD server, but no rule lets their clients use an export',
    );
  }
  if (knowsPeers || !access.some(({ who }) => who.some((one) => /^(user|group):/.test(one)))) return;
  const hint = 'use the mode and the group of the socket instead';
  log.warn(
    { hint },
    'rules about users and groups have no effect: this machine cannot tell who connects to a unix socket',
  );
}
