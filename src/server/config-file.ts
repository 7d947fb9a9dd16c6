import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { CodedError } from '../base/coded-error.js';
import { parseSize } from '../base/units.js';
import { MIN_BLOCK_CHOICES, type MinBlockBytes, parseMinBlock } from '../export/block-size.js';
import { type BitmapSpec, type ExportSpec, parseBitmapSpec } from '../export/export-spec.js';
import type { Entry } from './config.js';
import { type Setting, type SettingKey, settingKeys, settings } from './settings.js';

export interface ConfigFile {
  readonly entries: readonly Entry[];
  readonly exports: readonly ExportSpec[];
}

type Table = Record<string, unknown>;

const exportKeys = ['name', 'path', 'description', 'size', 'readonly', 'format', 'min-block', 'bitmap'];

/**
 * Reads a TOML file with the settings of a server, named like its flags, and a table `[[export]]` for each disk.
 * @throws CodedError CONFIG_INVALID, which names the file, the line and the expected value
 */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const what = code === 'ENOENT' ? `there is no file ${path}` : `${path} cannot be read: ${message}`;
    throw new CodedError('CONFIG_INVALID', what, 'check --config', { cause: error });
  }
  return parseConfigFile(text, basename(path));
}

/** `name` is the name of the file in messages. @throws CodedError CONFIG_INVALID */
export function parseConfigFile(text: string, name: string): ConfigFile {
  const reader = new ConfigReader(text, name);
  const table = reader.parse();
  const { export: exports = [], ...others } = table;
  if (!Array.isArray(exports)) reader.refuse('export', undefined, 'is not a list of tables', 'expected [[export]]');
  return {
    entries: Object.entries(others).flatMap(([key, value]) => reader.entries(key, value)),
    exports: (exports as unknown[]).map((value, index) => reader.export(value, index)),
  };
}

class ConfigReader {
  constructor(
    private readonly text: string,
    private readonly name: string,
  ) {}

  parse(): Table {
    try {
      return parse(this.text);
    } catch (error) {
      if (!(error instanceof TomlError)) throw error;
      const [what = ''] = error.message.replace(/^Invalid TOML document: /, '').split('\n');
      throw new CodedError('CONFIG_INVALID', `${this.name}:${error.line}: ${what}`, 'expected a TOML document');
    }
  }

  entries(key: string, value: unknown): Entry[] {
    if (!(settingKeys as string[]).includes(key)) {
      this.refuse(key, undefined, 'is not a setting', `expected one of ${settingKeys.join(', ')}`);
    }
    const { repeated, expected, argument, textOnly = false }: Setting<unknown> = settings[key as SettingKey];
    const values = Array.isArray(value) && repeated ? value : [value];
    const isOfKind = (item: unknown) => {
      if (argument === undefined) return typeof item === 'boolean';
      return typeof item === 'string' || (typeof item === 'number' && !textOnly);
    };
    return values.map((item: unknown) => {
      if (!isOfKind(item)) this.refuse(key, undefined, 'has a value of the wrong type', `expected ${expected}`);
      return { key: key as SettingKey, text: String(item), place: this.place(key) };
    });
  }

  export(value: unknown, index: number): ExportSpec {
    if (typeof value !== 'object' || value === null)
      this.refuse('export', index, 'is not a table', 'expected [[export]]');
    const table = value as Table;
    const unknown = Object.keys(table).find((key) => !exportKeys.includes(key));
    if (unknown) this.refuse(unknown, index, 'is not a key of an export', `expected one of ${exportKeys.join(', ')}`);
    const text = (key: string): string | undefined => {
      const item = table[key];
      if (item !== undefined && (typeof item !== 'string' || item === '')) {
        this.refuse(key, index, 'is not a string', 'expected text in quotes');
      }
      return item as string | undefined;
    };
    const need = (key: string) =>
      text(key) ?? this.refuse(key, index, 'is missing', 'an export needs a name and a path');
    const description = text('description');
    const sizeBytes = this.size(table.size, index);
    const minBlockBytes = this.minBlock(table['min-block'], index);
    return {
      name: need('name'),
      path: need('path'),
      readOnly: this.switch(table.readonly, index),
      bitmaps: this.bitmaps(table.bitmap, index),
      ...(description === undefined ? {} : { description }),
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
      ...(table.format === undefined ? {} : { format: this.format(table.format, index) }),
      ...(minBlockBytes === undefined ? {} : { minBlockBytes }),
    };
  }

  /** @throws CodedError CONFIG_INVALID */
  refuse(key: string, exportIndex: number | undefined, what: string, hint: string): never {
    throw new CodedError('CONFIG_INVALID', `${this.place(key, exportIndex)}: ${key} ${what}`, hint);
  }

  private size(value: unknown, index: number): number | undefined {
    if (value === undefined) return undefined;
    const bytes = parseSize(String(value));
    return bytes ?? this.refuse('size', index, `is "${value}"`, 'expected a size such as "512M" or "10G"');
  }

  private format(value: unknown, index: number): 'raw' {
    return value === 'raw' ? value : this.refuse('format', index, `is "${value}"`, 'expected "raw", the only format');
  }

  private minBlock(value: unknown, index: number): MinBlockBytes | undefined {
    if (value === undefined) return undefined;
    const expected = `expected one of ${MIN_BLOCK_CHOICES.join(', ')}`;
    return parseMinBlock(String(value)) ?? this.refuse('min-block', index, `is "${value}"`, expected);
  }

  private switch(value: unknown, index: number): boolean {
    if (typeof value === 'boolean' || value === undefined) return value ?? false;
    return this.refuse('readonly', index, `is "${value}"`, 'expected true or false');
  }

  private bitmaps(value: unknown, index: number): BitmapSpec[] {
    const hint = 'expected a list such as ["nightly", "weekly:1M"]';
    if (value === undefined) return [];
    if (!Array.isArray(value)) return this.refuse('bitmap', index, 'is not a list', hint);
    return value.map((item: unknown) => {
      if (typeof item !== 'string') return this.refuse('bitmap', index, 'has a value that is not a string', hint);
      return parseBitmapSpec(item) ?? this.refuse('bitmap', index, `has "${item}"`, hint);
    });
  }

  /** The file and, if it can be found, the line. */
  private place(key: string, exportIndex?: number): string {
    const lines = this.text.split('\n');
    const headers = lines.flatMap((line, at) => (/^\s*\[\[\s*export\s*\]\]/.test(line) ? [at] : []));
    const from = exportIndex === undefined ? 0 : (headers[exportIndex] ?? 0);
    const end = exportIndex === undefined ? (headers[0] ?? lines.length) : (headers[exportIndex + 1] ?? lines.length);
    // `key =`, or the header of a table with that name.
    const names = /^\s*(?:["']?([\w-]+)["']?\s*=|\[\[?\s*([\w-]+)\s*\])/;
    const found = lines.slice(from, end).findIndex((line) => {
      const match = names.exec(line);
      return (match?.[1] ?? match?.[2]) === key;
    });
    return `${this.name}:${from + Math.max(found, 0) + 1}`;
  }
}
