import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const source = resolve(import.meta.dirname, '../src');

/** The layers that each layer may import besides itself. `main.ts` is the entry of the CLI. */
const mayImport: Record<string, readonly string[]> = {
  base: [],
  api: ['base'],
  page: ['api', 'base'],
  access: ['tls', 'api', 'base'],
  posix: ['api', 'base'],
  protocol: ['base'],
  tls: ['posix', 'api', 'base'],
  storage: ['posix', 'base'],
  bitmap: ['storage', 'posix', 'api', 'base'],
  snapshot: ['storage', 'posix', 'api', 'base'],
  export: ['access', 'snapshot', 'bitmap', 'storage', 'posix', 'api', 'base'],
  backup: ['export', 'snapshot', 'bitmap', 'storage', 'posix', 'api', 'base'],
  watch: ['backup', 'export', 'access', 'bitmap', 'posix', 'api', 'base'],
  session: ['protocol', 'export', 'access', 'tls', 'storage', 'posix', 'api', 'base'],
  control: ['watch', 'backup', 'export', 'access', 'tls', 'bitmap', 'posix', 'api', 'base'],
  server: [
    'control',
    'watch',
    'session',
    'backup',
    'export',
    'access',
    'tls',
    'snapshot',
    'bitmap',
    'storage',
    'posix',
    'api',
    'base',
  ],
  doctor: ['server', 'backup', 'bitmap', 'storage', 'tls', 'posix', 'base'],
  client: ['tls', 'protocol', 'posix', 'base'],
  qcow2: ['posix', 'base'],
  agent: ['client', 'qcow2', 'protocol', 'posix', 'api', 'base'],
  cli: ['doctor', 'server', 'control', 'agent', 'client', 'export', 'tls', 'storage', 'api', 'base'],
  'main.ts': ['cli', 'server'],
};

function layerOf(file: string): string {
  return relative(source, file).split('/')[0]!;
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?'(\.[^']+)'/g)].map((match) => match[1]!);
  return specifiers.map((specifier) => resolve(dirname(file), specifier));
}

/** The file behind an import, which names what becomes of it in the build. */
const sourceOf = (imported: string): string =>
  ['.ts', '.tsx'].map((ending) => imported.replace(/\.js$/, ending)).find((file) => existsSync(file)) ?? imported;

const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.tsx?$/.test(file))
  .map((file) => join(source, file));

test('every folder of src has its rule', () => {
  expect(readdirSync(source).sort()).toEqual(Object.keys(mayImport).sort());
});

test('imports go one way only', () => {
  const violations = files.flatMap((file) =>
    importsOf(file)
      .map(layerOf)
      .filter((imported) => imported !== layerOf(file) && !mayImport[layerOf(file)]?.includes(imported))
      .map((imported) => `${relative(source, file)} imports ${imported}`),
  );
  expect(violations).toEqual([]);
});

test('only the control API loads the schemas; the others take types and values from them', () => {
  const schema = /^import (?!type\b)[^;]*'[^']*\/api\/(?!values\.js)/m;
  const loaders = files.filter((file) => schema.test(readFileSync(file, 'utf8'))).map(layerOf);
  expect([...new Set(loaders)]).toEqual(['control']);
});

test('no files import each other in a circle, type imports included', () => {
  const circles: string[] = [];
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): void => {
    const from = path.indexOf(file);
    if (from >= 0) circles.push([...path.slice(from), file].map((one) => relative(source, one)).join(' > '));
    if (from >= 0 || done.has(file)) return;
    for (const imported of importsOf(file)) walk(sourceOf(imported), [...path, file]);
    done.add(file);
  };
  for (const file of files) walk(file, []);
  expect(circles).toEqual([]);
});

test('private members are marked by the keyword, never by #', () => {
  const marked = files.filter((file) => /\bthis\.#/.test(readFileSync(file, 'utf8')));
  expect(marked).toEqual([]);
});

test('only posix/posix.ts calls into C', () => {
  const callers = files.filter((file) => /from 'koffi'|(?<!typeof import)\('koffi'\)/.test(readFileSync(file, 'utf8')));
  expect(callers.map((file) => relative(source, file))).toEqual(['posix/posix.ts']);
});

test('no file has more than 300 lines', () => {
  const long = files.filter((file) => readFileSync(file, 'utf8').split('\n').length > 301);
  expect(long.map((file) => relative(source, file))).toEqual([]);
});
