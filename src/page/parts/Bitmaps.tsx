import type { Bitmap } from '../../api/bitmap.js';
import { formatSize } from '../../base/units.js';
import { formatShare } from '../format.js';
import { Table } from './Table.js';

export function Bitmaps({ bitmaps }: { readonly bitmaps: readonly Bitmap[] }) {
  if (bitmaps.length === 0) return null;
  const rows = bitmaps.map((bitmap) => ({
    key: bitmap.name,
    cells: [
      bitmap.name,
      `${formatSize(bitmap.dirtyBytes)} (${formatShare(bitmap.dirtyBytes, bitmap.sizeBytes)})`,
      formatSize(bitmap.granularityBytes),
      bitmap.base ?? 'none',
      <BitmapState key="state" bitmap={bitmap} />,
    ],
  }));
  const label = `Bitmaps of ${bitmaps[0]!.export}`;
  return <Table label={label} columns={['Bitmap', 'Dirty', 'Granule', 'Base', 'State']} rows={rows} />;
}

function BitmapState({ bitmap }: { readonly bitmap: Bitmap }) {
  if (bitmap.inconsistent) {
    return (
      <>
        <strong class="bad">inconsistent</strong> {bitmap.inconsistentReason}
      </>
    );
  }
  const facts = [
    bitmap.recording ? 'recording' : 'not recording',
    ...(bitmap.busy ? ['frozen by a backup'] : []),
    ...(bitmap.persistent ? [] : ['lost at a restart']),
  ];
  return <>{facts.join(', ')}</>;
}
