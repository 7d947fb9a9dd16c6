/** Runs at most `places` pieces of work at a time; the others queue in order. */
export class Turnstile {
  private readonly waiting: (() => void)[] = [];
  private places: number;

  constructor(places: number) {
    this.places = places;
  }

  async pass<T>(work: () => Promise<T>): Promise<T> {
    if (this.places > 0) this.places--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.places++;
    }
  }
}
