import { setTimeout as delay } from 'node:timers/promises';
import type { Right } from '../../../src/api/values.js';
import type { ErrorCode } from '../../../src/base/coded-error.js';
import { errorStatuses } from '../../../src/control/error-statuses.js';
import { FuzzSocket } from '../fuzz-socket.js';
import type { Subject } from '../subject.js';
import { expectThat, type Target } from '../target.js';
import { vaults } from '../tls/sight.js';
import { fuzzDisks } from '../transmission/disks.js';
import {
  encodeHttp,
  type HttpPlan,
  hiddenDisk,
  httpDisks,
  type PlannedHttpRequest,
  planHttp,
  visibleDisk,
} from './plan.js';

const PATIENCE_MILLISECONDS = 40;
/** A removed disk stays away for some time, but not forever. */
const RUNS_BETWEEN_RESTORES = 20;
const RESTORE_ATTEMPTS = 10;
const HEAD_END = '\r\n\r\n';

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  /** The server accepts no more requests on this connection. */
  readonly closes: boolean;
}

/** Every route of the control API, with bodies that fit its schema and with others. */
export class HttpTarget implements Target<HttpPlan> {
  readonly name = 'http';
  readonly plan = planHttp;
  private lastBackup = 'none-yet';
  private runs = 0;
  private readonly tokens = new Map<Right, string>();

  constructor(private readonly subject: Subject) {}

  async run({ sender, requests, cuts, broken }: HttpPlan): Promise<number> {
    if (this.runs++ % RUNS_BETWEEN_RESTORES === 0) await this.restoreDisks();
    const token = sender === 'operator' ? undefined : await this.tokenOf(sender);
    const { controlPath } = this.subject;
    const socket = await FuzzSocket.connect(token === undefined ? controlPath : await this.httpPort());
    const encoded = requests.map((request) => encodeHttp(request, this.lastBackup, token));
    await socket.send(Buffer.concat(encoded), cuts);
    for (const request of requests) {
      const answer = await this.takeAnswer(socket, request);
      // The server closes the connection after answering a body that it cannot parse. If that happens before everything
      // was sent, the kernel drops the answer too.
      if (answer === undefined) break;
      this.check(answer, request);
      if (token !== undefined) checkRights(answer, request);
      if (answer.closes) break;
    }
    socket.close();
    if (broken) await this.sendBroken(broken);
    return requests.length + (broken ? 1 : 0);
  }

  /** A token with this right on the visible disk. */
  private async tokenOf(right: Right): Promise<string> {
    const known = this.tokens.get(right);
    if (known !== undefined) return known;
    const body = { rights: [right], exports: [visibleDisk] };
    const { token } = await this.subject.call<{ token: string }>('POST', '/v1/tokens', body);
    this.tokens.set(right, token);
    return token;
  }

  private async httpPort(): Promise<number> {
    const { http } = await this.subject.call<{ http: { port: number } }>('GET', '/v1/server');
    return http.port;
  }

  settle(): Promise<void> {
    return this.restoreDisks();
  }

  /** Adds the disks again, whatever happened to them. A request without a waiting client may come in between. */
  private async restoreDisks(attemptsLeft = RESTORE_ATTEMPTS): Promise<void> {
    try {
      await this.restoreOnce();
    } catch (error) {
      if (attemptsLeft === 1) throw error;
      await delay(PATIENCE_MILLISECONDS);
      await this.restoreDisks(attemptsLeft - 1);
    }
  }

  private async restoreOnce(): Promise<void> {
    const { exports } = await this.subject.call<{ exports: { name: string }[] }>('GET', '/v1/exports');
    const mine = exports.filter(({ name }) => ![...fuzzDisks, ...vaults].some((disk) => disk.name === name));
    for (const { name } of mine) {
      await this.subject.call('DELETE', `/v1/exports/${encodeURIComponent(name)}?force=true`);
    }
    for (const name of httpDisks) {
      const bitmaps = [{ name: 'nightly', granularityBytes: 4096 }];
      await this.subject.call('POST', '/v1/exports', { name, path: `${name}.img`, sizeBytes: 2 ** 20, bitmaps });
    }
  }

  private check({ status, type, body }: Answer, request: PlannedHttpRequest): void {
    const what = () => `${show(request)}\nwas answered with ${status} ${body.slice(0, 2000)}`;
    expectThat(status >= 200 && status < 600, what);
    if (status < 400) {
      if (type.startsWith('application/json')) this.noteBackup(JSON.parse(body));
      return;
    }
    expectThat(type.startsWith('application/problem+json'), what);
    const { code } = JSON.parse(body) as { code: ErrorCode };
    expectThat(errorStatuses[code] === status && code !== 'INTERNAL', what);
  }

  private noteBackup(document: { id?: unknown; state?: unknown }): void {
    if (typeof document.id === 'string' && document.state === 'active') this.lastBackup = document.id;
  }

  private async takeAnswer(socket: FuzzSocket, request: PlannedHttpRequest): Promise<Answer | undefined> {
    let headEnd = -1;
    const what = () => `the connection ${socket.how} before the answer to\n${show(request)}`;
    for (;;) {
      headEnd = socket.buffer.subarray(socket.start, socket.end).indexOf(HEAD_END);
      if (headEnd >= 0) break;
      if (socket.how?.startsWith('failed: write') || socket.how?.startsWith('failed: read ECONNRESET'))
        return undefined;
      expectThat(!socket.over, what);
      await socket.more();
    }
    const head = socket.take(headEnd + HEAD_END.length).toString('latin1');
    const header = (name: string) => new RegExp(`\r\n${name}: ([^\r]*)`, 'i').exec(head)?.[1];
    const length = Number(header('content-length') ?? 0);
    expectThat(await socket.has(length), what);
    const status = Number(/^HTTP\/1\.1 (\d+) /.exec(head)?.[1]);
    const type = header('content-type') ?? '';
    return { status, type, body: socket.take(length).toString(), closes: header('connection') === 'close' };
  }

  /** It may be half a request, which is never answered, or a request for events, which never end. */
  private async sendBroken(bytes: Buffer): Promise<void> {
    const socket = await FuzzSocket.connect(this.subject.controlPath);
    await socket.send(bytes);
    socket.finish();
    await Promise.race([socket.untilOver(), delay(PATIENCE_MILLISECONDS)]);
    socket.close();
  }
}

/** What a token may not see does not exist for it, and it gets no further with it. */
function checkRights({ status, body }: Answer, request: PlannedHttpRequest): void {
  const what = () => `${show(request)}\nwith a token was answered with ${status} ${body.slice(0, 2000)}`;
  // The body of a GET means nothing.
  const isAbout = request.line.startsWith('GET ') ? request.line : encodeHttp(request);
  // These leave out what there is not, also for those who ask for that by name.
  const leftOut = status === 200 && /^GET \/v1\/(statistics|events\/history)\?/.test(request.line);
  if (isAbout.includes(hiddenDisk) && !leftOut) expectThat(status >= 400, what);
  else expectThat(!body.includes(hiddenDisk), what);
}

function show(request: PlannedHttpRequest): string {
  return encodeHttp(request).toString('utf8', 0, 2000);
}
