const COLUMNS = 100;

/** A paragraph, wrapped as the documents are. A part in backticks stays on one line, so that it can be copied. */
export function paragraph(text: string): string {
  const lines: string[] = [];
  for (const word of text.match(/(?:[^\s`]|`[^`]*`)+/g) ?? []) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= COLUMNS) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.join('\n');
}

export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}
