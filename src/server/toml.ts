import { type AST, ParseError, parseTOML } from 'toml-eslint-parser';
import { CodedError } from '../base/coded-error.js';

/** A value of a TOML document, and where it is. */
export interface TomlNode {
  /** From 1. */
  readonly line: number;
  /** What the user wrote: a value, or the header of a table. */
  readonly source: string;
  readonly content: string | number | boolean | Date | TomlNode[] | TomlTable;
}

export type TomlTable = Map<string, TomlNode>;

/**
 * Reads a TOML document. We build our own tree from the parser's, because its `getStaticTOMLValue` forgets the
 * positions, and drops a key named `__proto__`. @throws CodedError CONFIG_INVALID, which names the file and the line
 */
export function parseToml(text: string, fileName: string): TomlTable {
  const root: TomlTable = new Map();
  for (const item of parse(text, fileName).body[0].body) {
    if (item.type === 'TOMLKeyValue') put(root, item, text);
    else {
      const table = tableAt(root, item.resolvedKey, { line: item.loc.start.line, source: headerOf(item, text) });
      for (const pair of item.body) put(table, pair, text);
    }
  }
  return root;
}

function parse(text: string, fileName: string): AST.TOMLProgram {
  try {
    return parseTOML(text, { tomlVersion: '1.1' });
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw new CodedError(
      'CONFIG_INVALID',
      `${fileName}:${error.lineNumber}: ${error.message}`,
      'expected a TOML document',
    );
  }
}

function headerOf({ kind, key }: AST.TOMLTable, text: string): string {
  const name = text.slice(...key.range);
  return kind === 'array' ? `[[${name}]]` : `[${name}]`;
}

function put(table: TomlTable, { key, value, range, loc }: AST.TOMLKeyValue, text: string): void {
  const names = key.keys.map((part) => ('name' in part ? part.name : part.value));
  const place = { line: loc.start.line, source: text.slice(...range) };
  tableAt(table, names.slice(0, -1), place).set(names.at(-1)!, toNode(value, text));
}

function toNode(value: AST.TOMLContentNode, text: string): TomlNode {
  const place = { line: value.loc.start.line, source: text.slice(...value.range) };
  if (value.type === 'TOMLValue') return { ...place, content: value.value };
  if (value.type === 'TOMLArray') return { ...place, content: value.elements.map((element) => toNode(element, text)) };
  const content: TomlTable = new Map();
  for (const pair of value.body) put(content, pair, text);
  return { ...place, content };
}

/** The table at a path, which is made at `place` if it does not exist. The parser has refused paths that conflict. */
function tableAt(root: TomlTable, path: readonly (string | number)[], place: Omit<TomlNode, 'content'>): TomlTable {
  let inside: TomlNode['content'] = root;
  for (const [depth, key] of path.entries()) {
    const next: TomlNode = childOf(inside, key) ?? {
      ...place,
      content: typeof path[depth + 1] === 'number' ? [] : new Map(),
    };
    if (Array.isArray(inside)) inside[key as number] = next;
    else (inside as TomlTable).set(key as string, next);
    inside = next.content;
  }
  return inside as TomlTable;
}

function childOf(inside: TomlNode['content'], key: string | number): TomlNode | undefined {
  return Array.isArray(inside) ? inside[key as number] : (inside as TomlTable).get(key as string);
}
