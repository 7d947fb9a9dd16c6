/** The bytes of these hexadecimal digits. Spaces are ignored. */
export function hex(...parts: string[]): Buffer {
  const digits = parts.join('').replaceAll(' ', '');
  const bytes = Buffer.from(digits, 'hex');
  if (bytes.length * 2 !== digits.length) throw new Error(`not hexadecimal: ${digits}`);
  return bytes;
}

/** The hexadecimal digits of an ASCII text. */
export function ascii(text: string): string {
  return Buffer.from(text, 'ascii').toString('hex');
}
