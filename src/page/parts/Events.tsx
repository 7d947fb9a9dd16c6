import type { Event } from '../../api/event.js';
import { sentenceOf } from '../sentences.js';

interface Props {
  /** The latest first. */
  readonly events: readonly Event[];
  /** Gets older ones; undefined if there are none. */
  readonly onOlder: (() => void) | undefined;
}

/** What happened. */
export function Events({ events, onOlder }: Props) {
  return (
    <section aria-labelledby="events">
      <h2 id="events">Events</h2>
      {events.length === 0 && <p class="none">Nothing has happened yet that you may see.</p>}
      <ol class="events">
        {events.map((event) => (
          <li key={event.id}>
            <time dateTime={event.at}>{new Date(event.at).toLocaleString()}</time> {sentenceOf(event)}
          </li>
        ))}
      </ol>
      {onOlder && (
        <button type="button" onClick={onOlder}>
          Older events
        </button>
      )}
    </section>
  );
}
