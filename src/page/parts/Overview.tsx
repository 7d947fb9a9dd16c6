import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Session } from '../session.js';
import { Store, type View } from '../store.js';
import { Attention } from './Attention.js';
import { Backups } from './Backups.js';
import { Clients } from './Clients.js';
import { Events } from './Events.js';
import { ExportCard } from './ExportCard.js';
import { Header } from './Header.js';

/** With more exports than this, drawings are shown only where somebody asks for them. */
const MOST_OPEN = 4;

interface Props {
  readonly session: Session;
  readonly onSignOut: () => void;
  readonly onRefused: () => void;
}

/** Everything that the server tells about itself. */
export function Overview({ session, onSignOut, onRefused }: Props) {
  const store = useMemo(
    () => new Store({ client: session.client, isVisible: () => !document.hidden, onRefused }),
    [session],
  );
  const view = useView(store);
  const { server, exports, at, fault } = view;
  return (
    <>
      <Header view={view} onSignOut={onSignOut} />
      <main>
        {fault !== undefined && (
          <p role="alert" class="fault">
            {fault}
            {at > 0 && `; what you see is from ${new Date(at).toLocaleTimeString()}`}
          </p>
        )}
        {server && <Attention view={view} />}
        <section aria-labelledby="exports">
          <h2 id="exports">Exports</h2>
          {server && exports.length === 0 && <p class="none">You can see no export.</p>}
          {exports.map((one) => (
            <ExportCard
              key={one.name}
              description={one}
              view={view}
              client={store.client}
              isOpen={exports.length <= MOST_OPEN}
            />
          ))}
        </section>
        <Backups backups={view.backups} clients={view.clients} now={at} />
        <Clients clients={view.clients} />
        <Events events={view.events} onOlder={olderOf(store)} />
      </main>
    </>
  );
}

function useView(store: Store): View {
  const [view, setView] = useState(store.view);
  useEffect(() => {
    const unsubscribe = store.subscribe(() => setView(store.view));
    store.start();
    return () => {
      unsubscribe();
      store.stop();
    };
  }, [store]);
  return view;
}

/** Loads older events, if there are any. If that fails, the next poll says why. */
function olderOf(store: Store): (() => void) | undefined {
  if (typeof store.view.olderThan !== 'number') return undefined;
  return () => void store.loadOlderEvents().catch(() => {});
}
