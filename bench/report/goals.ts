import { formatCount } from '../../src/base/units.js';

/** What a figure has to be. The unit is only shown. */
export type Goal =
  | { readonly atLeast: number; readonly unit?: string }
  | { readonly atMost: number; readonly unit?: string };

const DIGITS = 2;

/** Compares the lines of the tables with their goals, and counts those that reach them. */
export class Goals {
  private lines = 0;
  private readonly missed: string[] = [];

  /**
   * Two cells: the figure as `shown`, and its goal. A figure is compared as it is printed, with two digits. `line` names it
   * in the list of those that miss their goals. A line without a goal has a dash.
   */
  cells(line: string, figure: number, shown: string, goal: Goal | undefined): [figure: string, goal: string] {
    if (goal === undefined) return [shown, '-'];
    this.lines++;
    const printed = Number(figure.toFixed(DIGITS));
    const isReached = 'atLeast' in goal ? printed >= goal.atLeast : printed <= goal.atMost;
    if (isReached) return [shown, sign(goal)];
    this.missed.push(`${line} (${shown})`);
    return [`${shown}, misses ${amount(goal)}`, sign(goal)];
  }

  /** Paragraphs: how many lines reach their goals, and which do not. Empty if no line has a goal. */
  summary(): string[] {
    if (this.lines === 0) return [];
    const reached = `${this.lines - this.missed.length} of ${formatCount(this.lines, 'line')} with a goal reach it.`;
    if (this.missed.length === 0) return [reached];
    return [`${reached} These do not:`, this.missed.map((line) => `- ${line}`).join('\n')];
  }
}

function sign(goal: Goal): string {
  return `${'atLeast' in goal ? '≥' : '≤'} ${amount(goal)}`;
}

function amount(goal: Goal): string {
  const value = 'atLeast' in goal ? goal.atLeast : goal.atMost;
  return goal.unit === undefined ? String(value) : `${value} ${goal.unit}`;
}
