import { expect, test } from 'vitest';
import { Subnet } from '../../src/access/subnet.js';

test.each([
  ['10.1.0.0/16', '10.1.255.255', true],
  ['10.1.0.0/16', '10.2.0.0', false],
  ['10.1.2.3', '10.1.2.3', true],
  ['10.1.2.3', '10.1.2.4', false],
  ['10.1.2.3/16', '10.1.9.9', true],
  ['0.0.0.0/0', '192.0.2.1', true],
  ['0.0.0.0/0', '2001:db8::1', false],
  ['2001:db8::/32', '2001:db8:ffff::1', true],
  ['2001:db8::/32', '2001:db9::1', false],
  ['::/0', '2001:db8::1', true],
  ['::/0', '10.1.2.3', false],
  ['::ffff:0:0/96', '10.1.2.3', false],
  ['::1', '::1', true],
  ['10.1.0.0/16', 'nonsense', false],
  ['10.1.0.0/16', '', false],
])('%s has %s: %s', (subnet, address, has) => {
  expect(Subnet.parse(subnet)!.has(address)).toBe(has);
});

test.each(['', '10.1', '10.1.0.0/33', '::/129', '10.1.0.0/', '10.1.0.0/-1', '10.1.0.0/16/16', 'fe80::1%eth0', 'host'])(
  '"%s" is not a subnet',
  (text) => {
    expect(Subnet.parse(text)).toBeUndefined();
  },
);

test.each([
  ['127.0.0.0/8', true],
  ['127.0.0.1', true],
  ['::1', true],
  ['0.0.0.0/0', false],
  ['::/0', false],
])('%s is about this machine alone: %s', (subnet, isLoopback) => {
  expect(Subnet.parse(subnet)!.isLoopback).toBe(isLoopback);
});
