import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { ExportDescription } from '../../api/export.js';
import { formatSize } from '../../base/units.js';
import type { ApiClient } from '../api-client.js';
import { formatPerSecond, formatRate } from '../format.js';
import type { View } from '../store.js';
import { Bitmaps } from './Bitmaps.js';
import { DiskMap } from './DiskMap.js';
import { Throughput } from './Throughput.js';
import { Timelines } from './Timelines.js';

interface Props {
  readonly description: ExportDescription;
  readonly view: View;
  readonly client: ApiClient;
  /** Whether the drawings are shown before somebody asks for them. */
  readonly isOpen: boolean;
}

/** An export: its facts, what clients do with it, what is dirty on it. */
export function ExportCard({ description: one, view, client, isOpen }: Props) {
  const points = view.rates.get(one.name) ?? [];
  const last = points.at(-1);
  // Both are for administrators of the export only.
  const showsClients = one.path !== undefined;
  return (
    <article class="card" aria-label={`Export ${one.name}`}>
      <h3>{one.name}</h3>
      {one.description !== '' && <p>{one.description}</p>}
      <dl class="facts">
        <Fact name="Size">{formatSize(one.sizeBytes)}</Fact>
        {one.readOnly && <Fact name="Access">read-only</Fact>}
        {one.path !== undefined && <Fact name="Disk">{one.path}</Fact>}
        {one.origin !== undefined && <Fact name="Origin">{one.origin}</Fact>}
        {one.uri !== '' && <Fact name="Address">{one.uri}</Fact>}
        {showsClients && (
          <>
            <Fact name="Clients">{one.connections.length}</Fact>
            <Fact name="Reading">{formatRate(last?.readBytes ?? 0)}</Fact>
            <Fact name="Writing">{formatRate(last?.writtenBytes ?? 0)}</Fact>
            <Fact name="Requests">{formatPerSecond(last?.requests ?? 0)}</Fact>
          </>
        )}
      </dl>
      <Bitmaps bitmaps={one.bitmaps} />
      <Timelines exportName={one.name} backups={view.backups} />
      <Fold title={showsClients ? 'Throughput and map' : 'Map'} isOpen={isOpen}>
        {showsClients && <Throughput exportName={one.name} points={points} />}
        <DiskMap description={one} client={client} version={versionOf(one, view.changes)} />
      </Fold>
    </article>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

interface FoldProps {
  readonly title: string;
  readonly isOpen: boolean;
  readonly children: ComponentChildren;
}

/** What is folded costs nothing. */
function Fold({ title, isOpen, children }: FoldProps) {
  const [open, setOpen] = useState(isOpen);
  return (
    <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{title}</summary>
      {open && children}
    </details>
  );
}

/** Another text whenever the map may have changed. */
function versionOf({ bitmaps, connections }: ExportDescription, changes: number): string {
  const dirty = bitmaps.reduce((sum, { dirtyBytes }) => sum + dirtyBytes, 0);
  const written = connections.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0);
  return `${changes} ${dirty} ${written}`;
}
