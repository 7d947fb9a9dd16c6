import type { Client } from '../../api/export.js';
import { formatSize } from '../../base/units.js';
import { Table } from './Table.js';

const columns = ['Client', 'Disk', 'Connected', 'Requests', 'Failed', 'Read', 'Written', 'TLS'];

export function Clients({ clients }: { readonly clients: readonly Client[] }) {
  const rows = clients.map((client) => ({
    key: String(client.id),
    cells: [
      client.client,
      client.export,
      new Date(client.connectedAt).toLocaleString(),
      client.requests.toLocaleString(),
      client.failedRequests === 0 ? '0' : <strong class="bad">{client.failedRequests.toLocaleString()}</strong>,
      formatSize(client.bytesRead),
      formatSize(client.bytesWritten),
      client.tls,
    ],
  }));
  return (
    <section aria-labelledby="clients">
      <h2 id="clients">Clients</h2>
      {rows.length === 0 ? (
        <p class="none">No client is connected to a disk that you administer.</p>
      ) : (
        <Table label="Clients" columns={columns} rows={rows} />
      )}
    </section>
  );
}
