/** The bytes that these hexadecimal digits spell; spaces are for the reader. */
export function hex(...parts: string[]): Buffer {
  const digits = parts.join('').replaceAll(' ', '');
  const bytes = Buffer.from(digits, 'hex');
  if (bytes.length * 2 !== digits.length) throw new Error(`not hexadecimal: ${digits}`);
  return bytes;
}

/** Hexadecimal digits of an ASCII text. */
export function ascii(text: string): string {
  return Buffer.from(text, 'ascii').toString('hex');
}
