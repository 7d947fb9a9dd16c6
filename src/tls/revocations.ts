/**
 * When the first of the lists in a PEM text goes out of date; undefined if none of them says so. Throws if it is malformed.
 */
export async function firstUpdateOf(crl: string): Promise<Date | undefined> {
  // Loaded only where there is a list, because it takes some 100 ms.
  await import('reflect-metadata');
  const { PemConverter, X509Crl } = await import('@peculiar/x509');
  const lists = PemConverter.decode(crl);
  if (lists.length === 0) throw new Error('it has no list');
  const first = Math.min(...lists.map((list) => new X509Crl(list).nextUpdate?.getTime() ?? Infinity));
  return Number.isFinite(first) ? new Date(first) : undefined;
}
