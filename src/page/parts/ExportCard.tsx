import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { ExportDescription } from '../../api/export.js';
import { formatSize } from '../../base/units.js';
import type { ApiClient } from '../api-client.js';
import { formatLatency, formatPerSecond, formatRate } from '../format.js';
import type { Rates } from '../rates.js';
import type { Slowest, View } from '../store.js';
import { Bitmaps } from './Bitmaps.js';
import { Charts } from './Charts.js';
import { DiskMap } from './DiskMap.js';
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
  const points = view.rates.get(one.name);
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
        {/* Those who may not know how many there are get an empty list. */}
        {one.path !== undefined && <Fact name="Clients">{one.connections.length}</Fact>}
        {points && <Doings last={points.at(-1)} slow={view.slow.get(one.name)} />}
      </dl>
      <Bitmaps bitmaps={one.bitmaps} />
      <Timelines exportName={one.name} backups={view.backups} />
      {points && (
        <Fold title="Charts and map" isOpen={isOpen}>
          <Charts exportName={one.name} points={points} />
          <DiskMap description={one} client={client} version={versionOf(one, points, view.changes)} />
        </Fold>
      )}
    </article>
  );
}

interface DoingsProps {
  readonly last: Rates | undefined;
  readonly slow: Slowest | undefined;
}

/** What clients do now. */
function Doings({ last, slow }: DoingsProps) {
  return (
    <>
      <Fact name="Reading">{formatRate(last?.readBytes ?? 0)}</Fact>
      <Fact name="Writing">{formatRate(last?.writtenBytes ?? 0)}</Fact>
      <Fact name="Requests">{formatPerSecond(last?.requests ?? 0)}</Fact>
      {slow?.read !== undefined && <Fact name="99 % of reads">{withinTime(slow.read)}</Fact>}
      {slow?.write !== undefined && <Fact name="99 % of writes">{withinTime(slow.write)}</Fact>}
    </>
  );
}

function withinTime(seconds: number): string {
  return Number.isFinite(seconds) ? `within ${formatLatency(seconds)}` : 'longer than measured';
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
function versionOf({ bitmaps }: ExportDescription, points: readonly Rates[], changes: number): string {
  const dirty = bitmaps.reduce((sum, { dirtyBytes }) => sum + dirtyBytes, 0);
  return `${changes} ${dirty} ${points.at(-1)?.changes ?? 0}`;
}
