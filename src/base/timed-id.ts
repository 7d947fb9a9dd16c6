/** The time in UTC, to the second, for names that sort by time: `20261123T235710`. */
export function timeStamp(at: Date): string {
  return at.toISOString().replaceAll(/[-:]|\.\d+Z$/g, '');
}

/** An id that begins with its time: `20261123-235710-x7k2`. It needs no quoting in names, paths and URIs. */
export function timedId(at: Date, suffix: string): string {
  return `${timeStamp(at).replace('T', '-')}-${suffix}`;
}

/** The time with which an id begins; undefined if it does not begin with one. */
export function timeOfId(id: string): Date | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-/.exec(id);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const time = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time.getTime()) ? undefined : time;
}
