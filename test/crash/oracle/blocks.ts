import { SECTOR_BYTES } from '../../../src/base/units.js';

const WORDS = SECTOR_BYTES / 4;

/** The content of a sector after the write `sequence`: that number, and words computed from it and from the place. */
function word(sequence: number, disk: number, sector: number, index: number): number {
  return (
    (Math.imul(sequence, 0x9e3779b1) ^ Math.imul(sector * 2 + disk, 0x85ebca6b) ^ Math.imul(index, 0xc2b2ae35)) >>> 0
  );
}

/** The content of the sectors of one write, which contains its number and is never zero. */
export function blocksOf(sequence: number, disk: number, firstSector: number, sectors: number): Buffer {
  const words = new Uint32Array(sectors * WORDS);
  for (let sector = 0; sector < sectors; sector++) {
    const at = sector * WORDS;
    words[at] = sequence;
    for (let i = 1; i < WORDS; i++) words[at + i] = word(sequence, disk, firstSector + sector, i);
  }
  return Buffer.from(words.buffer);
}

/** The write whose content each sector has; 0 if none. @throws Error if a sector has the content of no write */
export function sequencesIn(content: Buffer, disk: number): Uint32Array {
  const words = new Uint32Array(content.buffer, content.byteOffset, content.length / 4);
  const sequences = new Uint32Array(content.length / SECTOR_BYTES);
  for (let sector = 0; sector < sequences.length; sector++) {
    const at = sector * WORDS;
    const sequence = words[at]!;
    sequences[sector] = sequence;
    for (let i = 1; i < WORDS; i++) {
      const expected = sequence === 0 ? 0 : word(sequence, disk, sector, i);
      if (words[at + i] !== expected) throw new Error(`sector ${sector} of disk ${disk} is torn (write ${sequence})`);
    }
  }
  return sequences;
}
