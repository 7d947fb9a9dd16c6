import { dirname } from 'node:path';
import { formatCount } from '../src/base/units.js';
import { describeCheckout, describeMachine } from './machine.js';
import { paragraph } from './markdown.js';
import type { BenchOptions } from './options.js';
import type { Section } from './part.js';
import { Goals } from './report/goals.js';

interface RunTimes {
  readonly startedAt: Date;
  readonly minutes: number;
}

/** The report as Markdown, which reads well on a terminal too. */
export function formatReport(sections: readonly Section[], options: BenchOptions, times: RunTimes): string {
  const goals = new Goals();
  const tables = sections.map((section) => section(goals));
  return `${[introduction(options, times), ...goals.summary(), ...tables].join('\n\n')}\n`;
}

function introduction(
  { rounds, seconds, sizeBytes, pin, only, before }: BenchOptions,
  { startedAt, minutes }: RunTimes,
): string {
  const measured = only.length > 0 ? `--only ${only.join(' ')} ` : '';
  const beside = before === undefined ? '' : `--beside ${checkoutOf(before)} `;
  const given = `${measured}${beside}--rounds ${rounds} --seconds ${seconds} --size ${sizeBytes}${pin ? ' --pin' : ''}`;
  const facts = describeMachine();
  if (before !== undefined) facts.push(`before: tidemark ${describeCheckout(checkoutOf(before))}`);
  return [
    '# Benchmarks',
    paragraph(`Written by \`npm run bench -- ${given}\` on ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC,
in ${formatCount(Math.round(minutes), 'minute')}.`),
    facts.map((fact) => `- ${fact}`).join('\n'),
  ].join('\n\n');
}

function checkoutOf(main: string): string {
  return dirname(dirname(main));
}
