import type { SeenEvent } from '../event-stream.js';

/** What happened while the page was open. */
export function Events({ events }: { readonly events: readonly SeenEvent[] }) {
  return (
    <section aria-labelledby="events">
      <h2 id="events">Events</h2>
      {events.length === 0 && <p class="none">Nothing has happened since you opened this page.</p>}
      <ol class="events">
        {events.map((event) => (
          <li key={event.at + event.type + (event.export ?? event.backup)}>
            <time dateTime={event.at}>{new Date(event.at).toLocaleTimeString()}</time> {sentenceOf(event)}
          </li>
        ))}
      </ol>
    </section>
  );
}

function sentenceOf({ type, export: one, exports, backup, reason, percent, actions, by }: SeenEvent): string {
  const parts = [
    type,
    one ?? exports?.join(', '),
    backup,
    reason,
    percent === undefined ? undefined : `scratch ${percent} % full`,
    actions?.map((action) => `${action.type} ${action.bitmap}`).join(', '),
    by === undefined ? undefined : `by ${by}`,
  ];
  return parts.filter((part) => part !== undefined && part !== '').join(' · ');
}
