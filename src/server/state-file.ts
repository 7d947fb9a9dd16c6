import { join } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { isOursAlone, readCheckedFile } from '../posix/checked-file.js';
import { removeUnfinished, replaceFile } from '../posix/replacement.js';

const VERSION = 1;

export interface StateFileForm<Item> {
  /** What the file has, as its key and in messages, such as "tokens". */
  readonly what: string;
  /** How to continue when the file is damaged. */
  readonly mend: string;
  readonly maxBytes: number;
  readonly isItem: (found: unknown) => found is Item;
}

/** A list that a server keeps in a JSON file of its state directory, which must exist and be locked. */
export class StateFile<Item> {
  private readonly path: string;

  constructor(
    stateDirectory: string,
    private readonly form: StateFileForm<Item>,
  ) {
    this.path = join(stateDirectory, `${form.what}.json`);
  }

  /** The items in the file; none if there is no file. @throws CodedError CONFIG_INVALID */
  async read(): Promise<Item[]> {
    await removeUnfinished(this.path);
    try {
      const text = await readCheckedFile(this.path, {
        maxBytes: this.form.maxBytes,
        followLinks: false,
        check: (stats, mode) => {
          if (isOursAlone(stats)) return;
          throw new Error(`other users may have changed it (mode ${mode}, user id ${stats.uid})`);
        },
      });
      return this.parse(text);
    } catch (cause) {
      if (isMissing(cause)) return [];
      const { what, mend } = this.form;
      const message = `cannot use the ${what} in ${this.path}: ${(cause as Error).message}`;
      throw new CodedError('CONFIG_INVALID', message, mend, { cause });
    }
  }

  /** Replaces the file durably, or leaves it as it was. @throws CodedError STORE_UNUSABLE */
  async save(items: readonly Item[]): Promise<void> {
    const { what } = this.form;
    const text = `${JSON.stringify({ version: VERSION, [what]: items }, null, 2)}\n`;
    await replaceFile(this.path, text).catch((cause: Error) => {
      throw new CodedError(
        'STORE_UNUSABLE',
        `cannot write the ${what} to ${this.path}: ${cause.message}`,
        'nothing was changed; make the state directory writable, and free some space there',
        { cause },
      );
    });
  }

  private parse(text: string): Item[] {
    const { what, isItem } = this.form;
    const { version, [what]: items } = JSON.parse(text) ?? {};
    if (version !== VERSION) throw new Error(`it has version ${version}, but this program knows only ${VERSION}`);
    if (!Array.isArray(items) || !items.every(isItem)) throw new Error('it is damaged');
    return items;
  }
}
