import {
  type Backup,
  type BackupService,
  type BeginRequest,
  NoAnswerError,
  type ProgressReport,
} from '../agent/backup-service.js';
import type { ReadInFull } from '../api/backup.js';
import { MAX_DETAIL_CHARACTERS } from '../api/values.js';
import { CodedError } from '../base/coded-error.js';
import type { ControlClient } from './control-client.js';

/** Errors of a server that is away or stopping: the same call may succeed later. */
const noAnswers = new Set<string>(['NO_SERVER', 'SHUTTING_DOWN']);

/** Short, so that an interrupted pull ends within a second even if the server does not answer. */
const LAST_WORD_MILLISECONDS = 300;

/** Backups made by a tidemark server, through its control API. */
export class HttpBackupService implements BackupService {
  /** Aborting `signal` ends the calls in progress. Later calls, which clean up, get a short time each. */
  constructor(
    private readonly unlimited: ControlClient,
    private readonly signal: AbortSignal,
  ) {}

  begin(request: BeginRequest): Promise<Backup> {
    return this.client.post<Backup>(['backups'], request);
  }

  async renew(id: string, progress: readonly ProgressReport[] = []): Promise<void> {
    await repeatable(this.client.post(['backups', id, 'renew'], progress.length === 0 ? {} : { progress }));
  }

  async commit(id: string, readInFull: readonly ReadInFull[]): Promise<void> {
    const said = readInFull.map(({ detail, ...one }) => ({ ...one, detail: detail.slice(0, MAX_DETAIL_CHARACTERS) }));
    await repeatable(this.client.post(['backups', id, 'commit'], { readInFull: said }));
  }

  async abort(id: string, reason: string): Promise<void> {
    await repeatable(this.client.post(['backups', id, 'abort'], { reason: reason.slice(0, MAX_DETAIL_CHARACTERS) }));
  }

  async show(id: string): Promise<Backup | undefined> {
    try {
      return await repeatable(this.client.get<Backup>('backups', id));
    } catch (error) {
      if (error instanceof CodedError && error.code === 'BACKUP_NOT_FOUND') return undefined;
      throw error;
    }
  }

  private get client(): ControlClient {
    return this.unlimited.until(this.signal.aborted ? AbortSignal.timeout(LAST_WORD_MILLISECONDS) : this.signal);
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
