/*
 * Text from a peer, a file or a manifest may contain terminal control sequences, or characters that make a terminal
 * display something other than the actual text. All such text is escaped here before it is shown.
 */

/** Control characters (U+009B too), invisible and direction-changing characters, line separators, lone surrogates. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const UNPRINTABLE_IN_LINES = /[^\P{Cc}\n\t]|[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** JSON.stringify already escapes characters below U+0020 and lone surrogates. */
const UNPRINTABLE_IN_JSON = /[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu;

/** One line of text in which escapes such as \u001b replace everything that is unsafe to send to a terminal. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escapeUnits);
}

/** The same for text of several lines. Line feeds and tabs stay as they are. */
export function printableLines(text: string): string {
  return text.replace(UNPRINTABLE_IN_LINES, escapeUnits);
}

/** A copy of the value in which every string is printable. */
export function printableValue<Value>(value: Value): Value {
  if (typeof value === 'string') return printable(value) as Value;
  if (Array.isArray(value)) return value.map(printableValue) as Value;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, printableValue(part)])) as Value;
}

/** Equivalent JSON that also escapes the unsafe characters which JSON.stringify leaves alone. */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE_IN_JSON, escapeUnits);
}

/** Escapes as in JSON and JavaScript: four hexadecimal digits for each UTF-16 code unit. */
function escapeUnits(text: string): string {
  let escaped = '';
  for (let i = 0; i < text.length; i++) escaped += `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return escaped;
}
