import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { type AccessSpec, accessKeys, accessOf } from '../access/access-spec.js';
import type { ExportSpec } from '../api/export.js';
import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { Given, type Schema } from '../base/setting.js';
import { exportKeys, exportOf } from '../export/export-spec.js';
import { type HookSpec, hookKeys, hookOf } from '../watch/hooks/hook-spec.js';
import { type ThresholdSpec, thresholdKeys, thresholdOf } from '../watch/thresholds/threshold-spec.js';
import { type GivenSettings, settings } from './settings.js';
import { parseToml, type TomlNode } from './toml.js';

/** The longest value that a message shows. */
const MAX_SHOWN_CHARACTERS = 60;

/**
 * Reads a TOML file with the settings of a server, named like its flags, and a table for each disk, access rule,
 * threshold and hook.
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
      if (key === 'export') for (const table of this.tables(key, node)) given.add(key, this.disk(table));
      else if (key === 'access') for (const table of this.tables(key, node)) given.add(key, this.rule(table));
      else if (key === 'threshold') for (const table of this.tables(key, node)) given.add(key, this.threshold(table));
      else if (key === 'hook') for (const table of this.tables(key, node)) given.add(key, this.hook(table));
      else this.readKey(given, key, node, 'a setting');
    }
    return given;
  }

  private tables(key: string, node: TomlNode): readonly TomlNode[] {
    if (!Array.isArray(node.content)) return this.invalid(key, node, `[[${key}]]`);
    for (const table of node.content) if (!(table.content instanceof Map)) this.invalid(key, table, `[[${key}]]`);
    return node.content;
  }

  private disk(node: TomlNode): ExportSpec {
    const given = this.keysOf(node, exportKeys, 'a key of an export');
    const missing = given.has('name') ? 'path' : 'name';
    return exportOf(given) ?? this.refuse(node, `${missing} is missing`, 'an export needs a name and a path');
  }

  private rule(node: TomlNode): AccessSpec {
    const given = this.keysOf(node, accessKeys, 'a key of an access rule');
    return accessOf(given) ?? this.refuse(node, 'who is missing', 'an access rule says who may do something');
  }

  private threshold(node: TomlNode): ThresholdSpec {
    const threshold = thresholdOf(this.keysOf(node, thresholdKeys, 'a key of a threshold'));
    if (typeof threshold !== 'string') return threshold;
    return this.refuse(node, threshold, `a threshold has a kind: ${thresholdKeys.kind.expected}`);
  }

  private hook(node: TomlNode): HookSpec {
    const hook = hookOf(this.keysOf(node, hookKeys, 'a key of a hook'));
    return typeof hook === 'string' ? this.refuse(node, hook, 'a hook has a name, and a command or a url') : hook;
  }

  private keysOf<Known extends Schema>(node: TomlNode, keys: Known, what: string): Given<Known> {
    const given = new Given(keys);
    for (const [key, value] of node.content as Map<string, TomlNode>) this.readKey(given, key, value, what);
    return given;
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
