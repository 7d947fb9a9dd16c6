/** A pattern for names, in which `*` stands for any characters, none included, and `?` for exactly one. */
export class Glob {
  private readonly parts: readonly string[];

  constructor(readonly pattern: string) {
    this.parts = [...pattern];
  }

  /** Whether it matches every name. */
  get matchesAll(): boolean {
    return /^\*+$/.test(this.pattern);
  }

  /** Whether it matches the whole name. An empty name is the lack of one, and never matches. */
  matches(name: string): boolean {
    return name !== '' && matchesFrom(this.parts, [...name]);
  }
}

/** Never takes more than one step for each character of the pattern and of the name, unlike a regular expression. */
function matchesFrom(pattern: readonly string[], name: readonly string[]): boolean {
  let at = 0;
  /** Behind the last star, and where its match ends so far. */
  let retry: { pattern: number; name: number } | undefined;
  for (let i = 0; i < name.length; ) {
    if (pattern[at] === '*') retry = { pattern: ++at, name: i };
    else if (pattern[at] === '?' || pattern[at] === name[i]) {
      at++;
      i++;
    } else if (retry) {
      at = retry.pattern;
      i = ++retry.name;
    } else return false;
  }
  while (pattern[at] === '*') at++;
  return at === pattern.length;
}
