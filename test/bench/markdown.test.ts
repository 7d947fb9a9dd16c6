import { expect, test } from 'vitest';
import { paragraph } from '../../bench/markdown.js';

test('a paragraph is wrapped at 100 columns, and a command stays on one line', () => {
  const words = Array(30).fill('word').join(' ');
  const command = `npm run bench -- ${Array(20).fill('--only').join(' ')}`;
  const text = `${words}\n  \`${command}\`, which is\nlike \`a\` and (\`b c\`) ${words}`;
  const lines = paragraph(text).split('\n');
  expect(lines.join(' ')).toBe(text.replace(/\s+/g, ' '));
  expect(lines.filter((line) => line.length > 100)).toEqual([`\`${command}\`,`]);
});
