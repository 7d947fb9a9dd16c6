import type { SeenEvent } from '../event-stream.js';
import { sentenceOf } from '../sentences.js';

/** What happened while the page was open. */
export function Events({ events }: { readonly events: readonly SeenEvent[] }) {
  return (
    <section aria-labelledby="events">
      <h2 id="events">Events</h2>
      {events.length === 0 && <p class="none">Nothing has happened since you opened this page.</p>}
      <ol class="events">
        {events.map((event, index) => (
          <li key={events.length - index}>
            <time dateTime={event.at}>{new Date(event.at).toLocaleTimeString()}</time> {sentenceOf(event)}
          </li>
        ))}
      </ol>
    </section>
  );
}
