import { attentionOf } from '../attention.js';
import type { View } from '../store.js';

/** What somebody should look at, before everything else. */
export function Attention({ view }: { readonly view: View }) {
  const items = attentionOf(view);
  return (
    <section aria-labelledby="attention">
      <h2 id="attention">Needs attention</h2>
      {items.length === 0 ? (
        <p class="none">Nothing.</p>
      ) : (
        <ul class="attention">
          {items.map(({ text }) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      )}
    </section>
  );
}
