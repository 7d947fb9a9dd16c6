import { setTimeout as delay } from 'node:timers/promises';
import { Command } from '../../../src/protocol/constants.js';
import { Random } from '../../support/random.js';
import { encodeExtendedRequest, encodeRequest } from '../../support/raw-client.js';
import { randomBytes } from '../odd-values.js';
import type { Subject } from '../subject.js';
import { expectThat, type Target } from '../target.js';
import { BackedUpDisk } from './backed-up-disk.js';
import { type ConnectedClient, connectClient } from './client.js';
import { DiskModel } from './disk-model.js';
import { type FuzzDisk, MODEL } from './disks.js';
import { planRequest, planTransmission, type TransmissionPlan } from './plan.js';
import { ReplyReader } from './reply-reader.js';
import { Wave } from './wave.js';

const LAST_WAVE_REQUESTS = 40;
const LONGEST_LAST_BYTES = 64 * 1024;

/** Requests of every kind over several connections at a time, checked against a model of the disk and of its bitmap. */
export class TransmissionTarget implements Target<TransmissionPlan> {
  readonly name = 'transmission';
  readonly plan = planTransmission;
  private readonly backedUp: BackedUpDisk;
  private readonly models: Map<string, DiskModel>;
  private lastSalt = 0;

  /** `contents`: the initial content of the disks that are small enough to be modelled. */
  constructor(
    private readonly subject: Subject,
    contents: ReadonlyMap<string, Buffer>,
  ) {
    this.backedUp = new BackedUpDisk(subject);
    this.models = new Map([...contents].map(([name, content]) => [name, new DiskModel(content)]));
    this.models.set(MODEL.name, this.backedUp.model);
  }

  async run(plan: TransmissionPlan): Promise<number> {
    const { backup } = this.backedUp;
    const view = plan.ofView ? backup : undefined;
    const disk = view ? { ...plan.disk, name: view.viewName, readOnly: true } : plan.disk;
    const model = view ? view.view : this.models.get(disk.name);
    this.lastSalt = 0;
    let messages = 0;
    let clients: { connected: ConnectedClient; reader: ReplyReader }[] = [];
    for (let number = 0; number < plan.clients[0]!.waves.length; number++) {
      model?.beginWave();
      const waves = plan.clients.map((client) => this.wave(client.waves[number]!, disk, client, model));
      const bytes = waves.map((wave) => wave.encode());
      if (number === 0) clients = await this.connect(plan, disk, model, bytes);
      else {
        const cutsOf = (i: number) => plan.clients[i]!.cuts[number]!.map((part) => Math.floor(part * bytes[i]!.length));
        await Promise.all(clients.map(({ connected }, i) => connected.socket.send(bytes[i]!, cutsOf(i))));
      }
      const whole = await Promise.all(clients.map(({ reader }, i) => reader.takeAll(waves[i]!)));
      expectThat(whole.every(Boolean), () => 'the server closed the connection with requests unanswered');
      messages += waves.reduce((sum, { requests }) => sum + requests.length, 0);
    }
    model?.beginWave();
    const random = new Random(plan.endingSeed);
    for (const { connected } of clients) messages += await this.end(plan, random, connected, disk, model);
    if (plan.ending === 'cut-wave' || plan.ending === 'unread') await this.untilLeft(disk);
    await this.backedUp.act(plan.afterwards);
    return messages;
  }

  /** @throws WrongAnswer */
  async settle(): Promise<void> {
    if (this.backedUp.backup) await this.backedUp.act('abort');
    await this.backedUp.act('compare');
  }

  private wave(requests: Wave['requests'], disk: FuzzDisk, client: ConnectedClient['plan'], model?: DiskModel): Wave {
    return new Wave(requests, ++this.lastSalt, disk, client, model);
  }

  private connect(plan: TransmissionPlan, disk: FuzzDisk, model: DiskModel | undefined, first: readonly Buffer[]) {
    return Promise.all(
      plan.clients.map(async (client, i) => {
        const connected = await connectClient(this.subject.socketPath, disk.name, client, first[i]!);
        const isFrozen = () => this.backedUp.backup !== undefined;
        const { socket, contexts } = connected;
        return { connected, reader: new ReplyReader(socket, client, contexts, model, isFrozen) };
      }),
    );
  }

  /** Ends the connection in one way or another. Resolves to the number of messages. */
  private async end(
    { ending }: TransmissionPlan,
    random: Random,
    { plan, socket }: ConnectedClient,
    disk: FuzzDisk,
    model: DiskModel | undefined,
  ): Promise<number> {
    if (ending === 'cut-wave' || ending === 'unread') {
      const requests = Array.from({ length: LAST_WAVE_REQUESTS }, () =>
        planRequest(random, disk, Math.min(disk.sizeBytes, LONGEST_LAST_BYTES), plan.extended),
      );
      const wave = this.wave(requests, disk, plan, model);
      const bytes = wave.encode();
      if (ending === 'unread') socket.stall();
      await socket.send(ending === 'unread' ? bytes : bytes.subarray(0, random.below(bytes.length)));
      socket.close();
      wave.abandon();
      return requests.length;
    }
    const encode = plan.extended ? encodeExtendedRequest : encodeRequest;
    if (ending === 'disconnect') await socket.send(encode({ command: Command.DISC }));
    else if (ending === 'garbage') await socket.send(Buffer.concat([Buffer.alloc(4), randomBytes(random, 40)]));
    else if (ending === 'half-request') {
      const whole = encode({ command: Command.WRITE, payload: Buffer.alloc(512, 0xee) });
      await socket.send(whole.subarray(0, random.below(whole.length)));
    }
    if (ending !== 'garbage') socket.finish();
    await socket.untilOver();
    expectThat(
      ending === 'half-request' || socket.available === 0,
      () => `${socket.available} bytes came after the last reply`,
    );
    socket.close();
    return ending === 'finish' ? 0 : 1;
  }

  /** The requests that a client left behind are carried out, or dropped, while it still counts as connected. */
  private async untilLeft({ name }: FuzzDisk): Promise<void> {
    for (;;) {
      const path = `/v1/exports/${name.split('@')[0]}`;
      const { connections } = await this.subject.call<{ connections: unknown[] }>('GET', path);
      if (connections.length === 0) return;
      await delay(1);
    }
  }
}
