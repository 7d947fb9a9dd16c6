import type { ExportDescription } from '../../api/export.js';
import { formatSize } from '../../base/units.js';
import { formatPerSecond, formatRate } from '../format.js';
import type { View } from '../store.js';
import { Bitmaps } from './Bitmaps.js';

interface Props {
  readonly description: ExportDescription;
  readonly view: View;
}

export function ExportCard({ description: one, view }: Props) {
  const rates = view.rates.get(one.name)?.at(-1);
  return (
    <article class="card" aria-label={`Export ${one.name}`}>
      <h3>{one.name}</h3>
      {one.description !== '' && <p>{one.description}</p>}
      <dl class="facts">
        <Fact name="Size">{formatSize(one.sizeBytes)}</Fact>
        {one.readOnly && <Fact name="Access">read-only</Fact>}
        {one.path !== undefined && <Fact name="Disk">{one.path}</Fact>}
        {one.uri !== '' && <Fact name="Address">{one.uri}</Fact>}
        {one.path !== undefined && (
          <>
            <Fact name="Clients">{one.connections.length}</Fact>
            <Fact name="Reading">{formatRate(rates?.readBytes ?? 0)}</Fact>
            <Fact name="Writing">{formatRate(rates?.writtenBytes ?? 0)}</Fact>
            <Fact name="Requests">{formatPerSecond(rates?.requests ?? 0)}</Fact>
          </>
        )}
      </dl>
      <Bitmaps bitmaps={one.bitmaps} />
    </article>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
