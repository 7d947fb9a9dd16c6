import { drawScreen, enterScreen, leaveScreen, type Output } from '../output.js';
import type { Subject, Top } from './rates.js';
import { type Sorting, sortings, sortRows, topTable } from './top-table.js';

interface Terminal extends Output {
  readonly rows?: number;
}

const QUIT = ['q', '\u0003', '\u0004'];
/** Of a terminal that does not know its size. */
const DEFAULT_ROWS = 24;

/** The table of `tidemark top` on the whole terminal. */
export class TopScreen {
  private top: Top | undefined;
  private problem: string | undefined;

  constructor(
    private readonly terminal: Terminal,
    private readonly by: Subject,
    private sorting: Sorting,
    /** Called when the user has seen enough. */
    private readonly quit: () => void,
  ) {}

  enter(): void {
    enterScreen(this.terminal);
    this.draw();
  }

  leave(): void {
    leaveScreen(this.terminal);
  }

  show(top: Top): void {
    this.top = top;
    this.problem = undefined;
    this.draw();
  }

  /** Says above the table why it is an old one. */
  complain(problem: string): void {
    this.problem = problem;
    this.draw();
  }

  press(key: string): void {
    if (QUIT.includes(key)) this.quit();
    if (key !== 's') return;
    this.sorting = sortings[(sortings.indexOf(this.sorting) + 1) % sortings.length]!;
    this.draw();
  }

  draw(): void {
    const status = this.problem ?? (this.top ? `the last ${this.top.seconds.toFixed(1)} s` : 'measuring');
    const head = `tidemark top: ${status}, sorted by ${this.sorting} (s: sort by something else, q: quit)`;
    const table = this.top ? topTable(sortRows(this.top.rows, this.sorting), this.by).split('\n') : [];
    drawScreen(this.terminal, [head, '', ...table].slice(0, this.terminal.rows || DEFAULT_ROWS));
  }
}
