import { dirname } from 'node:path';
import { formatCount } from '../src/base/units.js';
import { describeCheckout, describeMachine } from './machine.js';
import { paragraph } from './markdown.js';
import type { BenchOptions } from './options.js';
import type { Section } from './part.js';
import { Goals } from './report/goals.js';

interface RunFacts {
  readonly startedAt: Date;
  readonly minutes: number;
  /** Parts that could not be measured. */
  readonly failed: readonly string[];
}

/** The report as Markdown, which reads well on a terminal too. */
export function formatReport(sections: readonly Section[], options: BenchOptions, facts: RunFacts): string {
  const goals = new Goals();
  const tables = sections.map((section) => section(goals));
  return `${[introduction(options, facts), ...failures(facts), ...goals.summary(), ...tables].join('\n\n')}\n`;
}

function introduction(
  { rounds, seconds, sizeBytes, pin, only, before, quick }: BenchOptions,
  { startedAt, minutes }: RunFacts,
): string {
  const length = quick ? '--quick ' : '';
  const measured = only.length > 0 ? `--only ${only.join(' ')} ` : '';
  const beside = before === undefined ? '' : `--beside ${checkoutOf(before)} `;
  const given = `${length}${measured}${beside}--rounds ${rounds} --seconds ${seconds} --size ${sizeBytes}${pin ? ' --pin' : ''}`;
  const facts = describeMachine();
  if (before !== undefined) facts.push(`before: tidemark ${describeCheckout(checkoutOf(before))}`);
  return [
    '# Benchmarks',
    paragraph(`Written by \`npm run bench -- ${given}\` on ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC,
in ${formatCount(Math.round(minutes), 'minute')}.`),
    facts.map((fact) => `- ${fact}`).join('\n'),
  ].join('\n\n');
}

function failures({ failed }: RunFacts): string[] {
  return failed.length === 0 ? [] : [`Parts that failed and are missing here: ${failed.join(', ')}.`];
}

function checkoutOf(main: string): string {
  return dirname(dirname(main));
}
