/*
 * Text from a peer, a file or a manifest may hold what steers a terminal, or what makes it show something else than is
 * there. All such text passes this function before it reaches one.
 */

/** Control characters (U+009B too), those that have no shape or turn the direction, separators of lines, halves of pairs. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const UNPRINTABLE_IN_LINES = /[^\P{Cc}\n\t]|[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** JSON.stringify escapes what is below U+0020, and halves of pairs. */
const UNPRINTABLE_IN_JSON = /[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu;

/** One line of text, with escapes such as \u001b in place of what is not to be sent to a terminal. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escapeUnits);
}

/** The same of text of several lines, in which tabs stay as they are. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE_IN_LINES, escapeUnits);
}

/** The same value with every text in it printable, for those who make text of it. */
export function printableValue<Value>(value: Value): Value {
  if (typeof value === 'string') return printable(value) as Value;
  if (Array.isArray(value)) return value.map(printableValue) as Value;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, printableValue(part)])) as Value;
}

/** JSON that means the same, without what JSON itself does not escape. */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE_IN_JSON, escapeUnits);
}

/** As JSON and JavaScript have it: four digits for each half of a pair. */
function escapeUnits(text: string): string {
  let escaped = '';
  for (let i = 0; i < text.length; i++) escaped += `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return escaped;
}
