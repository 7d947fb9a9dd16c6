/** Types for the part of buffer-layout that is used here. The package itself has none. */
declare module 'buffer-layout' {
  export class Layout<Value> {
    readonly span: number;
    readonly property: string;
    decode(source: Buffer, offset?: number): Value;
    /** Returns the number of bytes written. */
    encode(value: Value, target: Buffer, offset?: number): number;
  }

  export class Structure<Fields extends object> extends Layout<Fields> {
    /** Bytes from the start of the struct to that field; undefined when there is no such field. */
    offsetOf(property: keyof Fields & string): number | undefined;
  }

  export function u16be(property?: string): Layout<number>;
  export function u32be(property?: string): Layout<number>;
  /** Exact up to 2^53-1. */
  export function nu64be(property?: string): Layout<number>;
  export function blob(lengthBytes: number, property?: string): Layout<Buffer>;
  export function struct<Fields extends object>(fields: Layout<unknown>[], property?: string): Structure<Fields>;
}
