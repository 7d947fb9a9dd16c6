import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { ExportDescription } from '../../api/export.js';
import { formatExactSize, formatSize } from '../../base/units.js';
import type { ApiClient } from '../api-client.js';
import { formatShare } from '../format.js';
import { MapFeed, type MapNews, type Slices } from '../map-feed.js';
import { type Part, pan, type Room, sliceBytesFor, zoom } from '../scale.js';
import { CELL } from './draw-map.js';
import { MapCanvas } from './MapCanvas.js';
import { MapControls } from './MapControls.js';
import { useWidth } from './use-width.js';

const MOST_ROWS = 8;
const MOST_SLICES = 1024;

interface Props {
  readonly description: ExportDescription;
  readonly client: ApiClient;
  /** Another one whenever the map may have changed. */
  readonly version: string;
}

/** What is allocated and dirty on a disk, or on a part of it. */
export function DiskMap({ description, client, version }: Props) {
  const { name, sizeBytes, bitmaps } = description;
  const usable = bitmaps.filter(({ inconsistent }) => !inconsistent).map((bitmap) => bitmap.name);
  const [chosen, setChosen] = useState<string>();
  const bitmap = chosen !== undefined && usable.includes(chosen) ? chosen : usable[0];
  const place = useRef<HTMLDivElement>(null);
  const columns = Math.floor(useWidth(place) / CELL);
  const room = useMemo(
    () => ({ diskBytes: sizeBytes, mostSlices: Math.max(Math.min(columns * MOST_ROWS, MOST_SLICES), 1) }),
    [sizeBytes, columns],
  );
  const [part, setPart] = usePart(sizeBytes);
  const { slices, fault } = useSlices({ client, name, part, room, bitmap, version, isReady: columns > 0 });
  const [pointed, setPointed] = useState<number>();

  const onZoom = useCallback(
    (slice: number, factor: number) => {
      if (slices) setPart(zoom(room, part, factor, middleOf(slices, slice)));
    },
    [slices, room, part, setPart],
  );
  const summary = slices ? summaryOf(slices, sizeBytes) : 'loading';
  return (
    <div class="map">
      <MapControls
        exportName={name}
        bitmaps={usable}
        bitmap={bitmap}
        isWhole={part.length === sizeBytes}
        onBitmap={setChosen}
        onZoom={(factor) => setPart(zoom(room, part, factor))}
        onPan={(share) => setPart(pan(room, part, share))}
        onWhole={() => setPart({ offset: 0, length: sizeBytes })}
      />
      <div ref={place}>
        {slices && columns > 0 && (
          <MapCanvas
            slices={slices}
            columns={columns}
            label={`Map of ${name}: ${summary}`}
            onPoint={setPointed}
            onZoom={onZoom}
          />
        )}
      </div>
      {fault !== undefined && <p class="fault">There is no map: {fault}</p>}
      <p class="summary">
        {pointed === undefined || !slices ? summary : sliceInWords(slices, pointed)}
        <br />
        <span class="swatch allocated" /> allocated{' '}
        {bitmap !== undefined && (
          <>
            <span class="swatch dirty" /> dirty in {bitmap}
          </>
        )}
      </p>
    </div>
  );
}

/** The part that is shown. It is the whole disk at first, and again when the disk has another size. */
function usePart(sizeBytes: number): [Part, (part: Part) => void] {
  const [state, setState] = useState<{ readonly sizeBytes: number; readonly part: Part }>();
  const part = useMemo(
    () => (state?.sizeBytes === sizeBytes ? state.part : { offset: 0, length: sizeBytes }),
    [state, sizeBytes],
  );
  const setPart = useCallback((next: Part) => setState({ sizeBytes, part: next }), [sizeBytes]);
  return [part, setPart];
}

interface SlicesWish {
  readonly client: ApiClient;
  readonly name: string;
  readonly part: Part;
  readonly room: Room;
  readonly bitmap: string | undefined;
  readonly version: string;
  /** Whether the size of the map is known. */
  readonly isReady: boolean;
}

/** What the server tells of the part. Until it has answered, what it told of the last one. */
function useSlices({ client, name, part, room, bitmap, version, isReady }: SlicesWish): MapNews {
  const [news, setNews] = useState<MapNews>({});
  const feed = useMemo(
    // After a fault, the last map stays.
    () => new MapFeed(client, (latest) => setNews((before) => (latest.slices ? latest : { ...before, ...latest }))),
    [client],
  );
  useEffect(() => () => feed.stop(), [feed]);
  useEffect(() => {
    if (!isReady) return;
    const sliceBytes = sliceBytesFor(part.length, room.mostSlices);
    feed.want({ exportName: name, ...part, sliceBytes, bitmap });
  }, [feed, name, part, room, bitmap, isReady]);
  // Loaded again with each version.
  useEffect(() => feed.refresh(), [feed, version]);
  return news;
}

function middleOf({ offset, sliceBytes }: Slices, slice: number): number {
  return (Math.floor(offset / sliceBytes) + slice + 0.5) * sliceBytes;
}

function summaryOf({ offset, length, allocatedBytes, dirtyBytes, bitmap }: Slices, sizeBytes: number): string {
  const shown = length === sizeBytes ? formatSize(length) : `${formatSize(length)} from ${formatExactSize(offset)} on`;
  const amounts = [
    `${inShare(sum(allocatedBytes), length)} allocated`,
    ...(dirtyBytes ? [`${inShare(sum(dirtyBytes), length)} dirty in ${bitmap}`] : []),
  ];
  return `${shown}: ${amounts.join(', ')}`;
}

function sliceInWords({ offset, sliceBytes, allocatedBytes, dirtyBytes }: Slices, slice: number): string {
  const start = (Math.floor(offset / sliceBytes) + slice) * sliceBytes;
  const dirty = dirtyBytes ? `, ${formatSize(dirtyBytes[slice] ?? 0)} dirty` : '';
  const allocated = `${formatSize(allocatedBytes[slice] ?? 0)} allocated`;
  return `${formatSize(sliceBytes)} from ${formatExactSize(start)} on: ${allocated}${dirty}`;
}

function inShare(bytes: number, whole: number): string {
  return `${formatSize(bytes)} (${formatShare(bytes, whole)})`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
