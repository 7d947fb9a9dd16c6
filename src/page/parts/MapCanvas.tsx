import { useEffect, useRef } from 'preact/hooks';
import type { Slices } from '../map-feed.js';
import { useColourChanges } from './colours.js';
import { CELL, drawMap } from './draw-map.js';

interface Props {
  readonly slices: Slices;
  readonly columns: number;
  readonly label: string;
  /** Called with the slice under the pointer; undefined when the pointer leaves the map. */
  readonly onPoint: (slice: number | undefined) => void;
  /** Called with the slice that was clicked, or over which the wheel was turned, and how much larger it should be. */
  readonly onZoom: (slice: number, factor: number) => void;
}

const CLICK_FACTOR = 4;
const WHEEL_FACTOR = 2;

export function MapCanvas({ slices, columns, label, onPoint, onZoom }: Props) {
  const place = useRef<HTMLCanvasElement>(null);
  const colours = useColourChanges();
  const count = slices.allocatedBytes.length;
  const [width, height] = [columns * CELL, Math.ceil(count / columns) * CELL];

  // Drawn again when the colours change, too.
  useEffect(() => {
    const canvas = place.current!;
    canvas.width = width * devicePixelRatio;
    canvas.height = height * devicePixelRatio;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    drawMap(canvas, slices, columns);
  }, [slices, columns, width, height, colours]);

  useEffect(() => {
    const canvas = place.current!;
    const ending = new AbortController();
    const { signal } = ending;
    const sliceAt = ({ offsetX, offsetY }: MouseEvent): number | undefined => {
      const [column, row] = [Math.floor(offsetX / CELL), Math.floor(offsetY / CELL)];
      const index = row * columns + column;
      return column >= 0 && column < columns && index >= 0 && index < count ? index : undefined;
    };
    const zoomAt = (event: MouseEvent, factor: number) => {
      const slice = sliceAt(event);
      if (slice !== undefined) onZoom(slice, factor);
    };
    canvas.addEventListener('pointermove', (event) => onPoint(sliceAt(event)), { signal });
    canvas.addEventListener('pointerleave', () => onPoint(undefined), { signal });
    canvas.addEventListener('click', (event) => zoomAt(event, CLICK_FACTOR), { signal });
    // A wheel alone scrolls the page. With Ctrl, which browsers also report for a pinch, it would enlarge the page.
    const onWheel = (event: WheelEvent) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoomAt(event, event.deltaY < 0 ? WHEEL_FACTOR : 1 / WHEEL_FACTOR);
    };
    canvas.addEventListener('wheel', onWheel, { signal, passive: false });
    return () => ending.abort();
  }, [columns, count, onPoint, onZoom]);

  return <canvas ref={place} role="img" aria-label={label} />;
}
