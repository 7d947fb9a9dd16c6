import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

/** The newest version with long-term support. */
const LTS = '24';

test('the README and the package name the same oldest Node', () => {
  const { engines } = JSON.parse(read('package.json'));
  const oldest = /Node (\d+) \(from (\d+\.\d+) on\)/.exec(read('README.md'))!;
  expect(engines.node).toBe(`>=${oldest[2]}`);
  expect(oldest[2]!.startsWith(`${oldest[1]}.`)).toBe(true);
});

test.each(['docker/Dockerfile', 'docker/harness.Dockerfile'])(
  '%s is built on the newest LTS version, which is supported',
  (file) => {
    expect(read(file)).toContain(`BASE=docker.io/library/node:${LTS}-slim\n`);
    expect(read('README.md')).toContain(`the container image has ${LTS}`);
    expect(read('README.md')).toMatch(/tidemark runs on Node 20 .*, 22, 24 and 26/);
  },
);

test('the tests run on the version of Node that was asked for', () => {
  const wanted = process.env.TIDEMARK_NODE;
  if (wanted !== undefined) expect(process.version).toBe(wanted);
  // The tests start programs by this path, or by the name `node`.
  expect(process.execPath).toMatch(/node$/);
});
