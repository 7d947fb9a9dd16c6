import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Session } from '../session.js';
import { Store, type View } from '../store.js';
import { Backups } from './Backups.js';
import { Clients } from './Clients.js';
import { Events } from './Events.js';
import { ExportCard } from './ExportCard.js';
import { Header } from './Header.js';

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
  return (
    <>
      <Header view={view} onSignOut={onSignOut} />
      <main>
        {view.fault !== undefined && (
          <p role="alert" class="fault">
            {view.fault}; what you see is from {view.at === 0 ? 'before' : new Date(view.at).toLocaleTimeString()}
          </p>
        )}
        <section aria-labelledby="exports">
          <h2 id="exports">Exports</h2>
          {view.server && view.exports.length === 0 && <p class="none">You can see no export.</p>}
          {view.exports.map((one) => (
            <ExportCard key={one.name} description={one} view={view} />
          ))}
        </section>
        <Backups backups={view.backups} now={view.at} />
        <Clients clients={view.clients} />
        <Events events={view.events} />
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
