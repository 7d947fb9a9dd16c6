import type { Slices } from '../map-feed.js';
import { colour } from './colours.js';

/** A cell and the gap beside it, in CSS pixels. */
export const CELL = 12;
const GAP = 2;
/** What is marked only a little has to be seen too. */
const LEAST_SHADE = 0.35;

/** Draws one cell for each slice, in rows of `columns`. The canvas has to have the size for that. */
export function drawMap(canvas: HTMLCanvasElement, slices: Slices, columns: number): void {
  const pen = canvas.getContext('2d');
  if (!pen) return;
  const scale = devicePixelRatio;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const { sliceBytes, allocatedBytes, dirtyBytes } = slices;
  const shades = [
    { fill: colour('map-empty'), shareOf: () => 1 },
    { fill: colour('map-allocated'), shareOf: (index: number) => allocatedBytes[index]! / sliceBytes },
    { fill: colour('map-dirty'), shareOf: (index: number) => (dirtyBytes?.[index] ?? 0) / sliceBytes },
  ];
  for (const { fill, shareOf } of shades) {
    pen.fillStyle = fill;
    allocatedBytes.forEach((_bytes, index) => {
      const share = shareOf(index);
      if (share === 0) return;
      pen.globalAlpha = LEAST_SHADE + (1 - LEAST_SHADE) * Math.min(share, 1);
      const [x, y] = [(index % columns) * CELL, Math.floor(index / columns) * CELL];
      pen.fillRect(x, y, CELL - GAP, CELL - GAP);
    });
  }
}
