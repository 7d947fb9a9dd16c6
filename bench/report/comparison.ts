import { table } from '../markdown.js';
import { isTidemark, type ServerName } from '../servers.js';
import { worstRatio } from '../statistics.js';
import { certain, interval, spread } from './cells.js';
import type { Goal, Goals } from './goals.js';

/** The figures of all servers for one line: one a round. */
export interface ComparedLine {
  readonly title: string;
  readonly figures: ReadonlyMap<ServerName, readonly number[]>;
  readonly better: 'more' | 'less';
  /** For the ratio of tidemark to the best of the other servers. */
  readonly goal?: Goal | undefined;
}

/** A table with a column for each server, and tidemark's ratio to the best of the others. `lines` is not empty. */
export function comparisonTable(lines: readonly ComparedLine[], goals: Goals): string {
  const servers = [...lines[0]!.figures.keys()];
  const isCompared = servers.includes('tidemark') && servers.includes('before');
  const rows = lines.map((line) => [
    line.title,
    ...servers.map((server) => spread(line.figures.get(server)!)),
    ...(isCompared ? [certain(line.figures.get('tidemark')!, line.figures.get('before')!)] : []),
    ...ratioCells(line, goals),
  ]);
  return table(['', ...servers, ...(isCompared ? ['tidemark/before'] : []), 'ratio', 'goal'], rows);
}

function ratioCells({ title, figures, better, goal }: ComparedLine, goals: Goals): string[] {
  const own = figures.get('tidemark');
  const peers = new Map([...figures].filter(([server]) => !isTidemark(server)));
  const ratio = own && worstRatio(own, peers, better);
  if (!ratio) return ['-', '-'];
  return goals.cells(title, ratio.median, `${interval(ratio)} of ${ratio.rival}`, goal);
}
