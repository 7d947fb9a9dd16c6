import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { ExportSpec } from '../api/export.js';
import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { Given, type Schema } from '../base/setting.js';
import { exportKeys, exportOf } from '../export/export-spec.js';
import { type GivenSettings, settings } from './settings.js';
import { parseToml, type TomlNode } from './toml.js';

/** The longest value that a message shows. */
const MAX_SHOWN_CHARACTERS = 60;

/**
 * Reads a TOML file with the settings of a server, named like its flags, and a table `[[export]]` for each disk.
 * @throws CodedError CONFIG_INVALID, which names the file, the line, the value and what was expected
 */
export async function readConfigFile(path: string): Promise<GivenSettings> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const what = isMissing(error) ? `there is no file ${path}` : `${path} cannot be read: ${(error as Error).message}`;
    throw new CodedError('CONFIG_INVALID', what, 'check --config', { cause: error });
  }
  return parseConfigFile(text, basename(path));
}

/** `name` is the name of the file in messages. @throws CodedError CONFIG_INVALID */
export function parseConfigFile(text: string, name: string): GivenSettings {
  return new ConfigReader(name).settings(text);
}

class ConfigReader {
  constructor(private readonly name: string) {}

  settings(text: string): GivenSettings {
    const given: GivenSettings = new Given(settings);
    for (const [key, node] of parseToml(text, this.name)) {
      if (key === 'export') for (const disk of this.disks(node)) given.add('export', disk);
      else this.readKey(given, key, node, 'a setting');
    }
    return given;
  }

  private disks(node: TomlNode): ExportSpec[] {
    if (!Array.isArray(node.content)) return this.invalid('export', node, '[[export]]');
    return node.content.map((disk) => this.disk(disk));
  }

  private disk(node: TomlNode): ExportSpec {
    if (!(node.content instanceof Map)) return this.invalid('export', node, '[[export]]');
    const given = new Given(exportKeys);
    for (const [key, value] of node.content) this.readKey(given, key, value, 'a key of an export');
    const missing = given.has('name') ? 'path' : 'name';
    return exportOf(given) ?? this.refuse(node, `${missing} is missing`, 'an export needs a name and a path');
  }

  /** `what` says what every key of the table should be. */
  private readKey<Known extends Schema>(given: Given<Known>, key: string, node: TomlNode, what: string): void {
    if (!given.knows(key)) {
      this.refuse(node, `${key} is not ${what}`, `expected one of ${Object.keys(given.schema).join(', ')}`);
    }
    const { repeated, expected } = given.schema[key]!;
    const items = repeated && Array.isArray(node.content) ? node.content : [node];
    for (const item of items) if (!given.read(key, item.content)) this.invalid(key, item, expected);
  }

  private invalid(key: string, node: TomlNode, expected: string): never {
    const { source } = node;
    const shown = source.length > MAX_SHOWN_CHARACTERS ? `${source.slice(0, MAX_SHOWN_CHARACTERS)}…` : source;
    this.refuse(node, `invalid ${key} ${shown}`, `expected ${expected}`);
  }

  private refuse({ line }: TomlNode, what: string, hint: string): never {
    throw new CodedError('CONFIG_INVALID', `${this.name}:${line}: ${what}`, hint);
  }
}
