import type { Backup } from '../../api/backup.js';
import { timelinesOf } from '../timeline.js';

interface Props {
  readonly exportName: string;
  readonly backups: readonly Backup[];
}

/** The backups of a disk in a row, one for each bitmap. */
export function Timelines({ exportName, backups }: Props) {
  const timelines = timelinesOf(exportName, backups);
  if (timelines.length === 0) return null;
  return (
    <div>
      {timelines.map(({ bitmap, points }) => (
        <div class="timeline" key={bitmap}>
          <p>Backups with {bitmap}</p>
          <ol aria-label={`Backups of ${exportName} with ${bitmap}`}>
            {points.map(({ id, at, kind, text }) => {
              const words = `${new Date(at).toLocaleString()}, ${text}`;
              return (
                <li key={id} class={kind} title={words}>
                  <span class="hidden">{words}</span>
                </li>
              );
            })}
          </ol>
        </div>
      ))}
      <p class="summary">
        <span class="mark full" /> full <span class="mark incremental" /> incremental <span class="mark active" /> under
        way <span class="mark aborted" /> aborted, as far as the server remembers. Whether the files of a backup are
        good is known to <code>tidemark verify</code>.
      </p>
    </div>
  );
}
