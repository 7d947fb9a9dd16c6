import { CodedError } from '../base/coded-error.js';
import { type Backup, type BackupService, type BeginRequest, NoAnswerError } from '../client/agent/backup-service.js';
import type { ControlClient } from './control-client.js';

/** Said when the server is away, or on its way out: the same call may succeed later. */
const noAnswers = new Set<string>(['NO_SERVER', 'SHUTTING_DOWN']);

/** The backups of a tidemark server, by its control API. */
export class HttpBackupService implements BackupService {
  constructor(private readonly client: ControlClient) {}

  begin(request: BeginRequest): Promise<Backup> {
    return this.client.post<Backup>(['backups'], request);
  }

  async renew(id: string): Promise<void> {
    await repeatable(this.client.post(['backups', id, 'renew'], {}));
  }

  async commit(id: string): Promise<void> {
    await repeatable(this.client.post(['backups', id, 'commit']));
  }

  async abort(id: string, reason: string): Promise<void> {
    await repeatable(this.client.post(['backups', id, 'abort'], { reason }));
  }

  async show(id: string): Promise<Backup | undefined> {
    try {
      return await repeatable(this.client.get<Backup>('backups', id));
    } catch (error) {
      if (error instanceof CodedError && error.code === 'BACKUP_NOT_FOUND') return undefined;
      throw error;
    }
  }
}

async function repeatable<Answer>(call: Promise<Answer>): Promise<Answer> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof CodedError && noAnswers.has(error.code)) throw new NoAnswerError(error);
    throw error;
  }
}
