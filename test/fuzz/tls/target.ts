import { readFileSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { KIB } from '../../../src/base/units.js';
import { Command, Option, OptionReply } from '../../../src/protocol/constants.js';
import { Random } from '../../support/random.js';
import { encodeExtendedRequest, encodeOption, encodeRequest, u32 } from '../../support/raw-client.js';
import { FuzzSocket } from '../fuzz-socket.js';
import { takeGreeting, takeOptionReplies } from '../handshake/option-replies.js';
import { cutPoints } from '../odd-values.js';
import type { Subject } from '../subject.js';
import { expectThat, type Target } from '../target.js';
import { DiskModel } from '../transmission/disk-model.js';
import type { FuzzDisk } from '../transmission/disks.js';
import { planRequest } from '../transmission/plan.js';
import { ReplyReader } from '../transmission/reply-reader.js';
import { Wave } from '../transmission/wave.js';
import { type Agreed, Conversation } from './conversation.js';
import type { Credentials, TlsClient } from './credentials.js';
import { planTls, type TlsPlan } from './plan.js';
import { type Guest, guests, Sight, vaults } from './sight.js';
import { TlsWire, takeRecords } from './wire.js';

const FLAGS = 3;
const MAX_REQUESTS = 40;
const LONGEST_REQUEST_BYTES = 16 * KIB;

/** TLS at any place of a handshake, by clients with different rights, checked against what each may see and change. */
export class TlsTarget implements Target<readonly TlsPlan[]> {
  readonly name = 'tls';
  readonly plan = planTls;
  private readonly models: ReadonlyMap<string, DiskModel>;
  private lastSalt = 0;

  constructor(
    private readonly subject: Subject,
    private readonly credentials: Credentials,
    contents: ReadonlyMap<string, Buffer>,
    /** The image of a disk. */
    private readonly pathOf: (disk: FuzzDisk) => string,
  ) {
    this.models = new Map(vaults.map(({ name }) => [name, new DiskModel(contents.get(name)!)]));
  }

  async run(plans: readonly TlsPlan[]): Promise<number> {
    this.lastSalt = 0;
    for (const model of this.models.values()) model.beginWave();
    const { nbd } = await this.subject.call<{ nbd: { tcp: { port: number }[] } }>('GET', '/v1/server');
    const counts = await Promise.all(plans.map((plan) => this.runOne(plan, nbd.tcp[0]!.port)));
    this.compareImages();
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** What clients without the right to write have asked for must not be in there. */
  private compareImages(): void {
    for (const disk of vaults) {
      const model = this.models.get(disk.name)!;
      model.beginWave();
      model.compare(0, readFileSync(this.pathOf(disk)));
    }
  }

  /** Resolves to the number of messages. */
  private async runOne(plan: TlsPlan, port: number): Promise<number> {
    const { clear, clearCuts, start, pushed } = plan;
    const raw = await FuzzSocket.connect(port);
    const startTls = start === 'never' ? [] : [encodeOption(Option.STARTTLS)];
    const behind = start === 'pushed' ? [pushed] : [];
    await raw.send(Buffer.concat([u32(FLAGS), ...clear.map(({ bytes }) => bytes), ...startTls, ...behind]), clearCuts);
    await takeGreeting(raw);
    const agreed = await new Conversation(raw, Sight.inTheClear).takeAnswers(clear);
    let count = clear.length;
    if (start === 'never') count += await this.finish(raw, agreed, plan);
    else if (start === 'pushed') await this.endPushed(raw);
    else count += await this.speakTls(raw, plan);
    raw.close();
    return count;
  }

  /** Nothing of what followed STARTTLS may be answered as if it belonged to TLS, or as an option. */
  private async endPushed(raw: FuzzSocket): Promise<void> {
    const replies = await takeOptionReplies(raw);
    raw.finish();
    await raw.untilOver();
    if (replies) expectAccepted(replies);
    takeRecords(raw.take(raw.available));
  }

  private async speakTls(raw: FuzzSocket, plan: TlsPlan): Promise<number> {
    expectAccepted(await takeOptionReplies(raw));
    const { client, version, spoiler, secured, securedCuts } = plan;
    const wire = new TlsWire(raw, spoiler);
    const asClient = { ...this.credentials[client], minVersion: version, maxVersion: version };
    const tls = connectTls({ ...asClient, socket: wire, checkServerIdentity: () => undefined });
    const socket = FuzzSocket.over(tls);
    await new Promise((resolve) => tls.once('secureConnect', resolve).once('error', resolve).once('close', resolve));
    await socket.send(Buffer.concat(secured.map(({ bytes }) => bytes)), securedCuts);
    let count = secured.length;
    if (isGuest(client)) {
      const conversation = new Conversation(socket, Sight.of(client), () => wire.isSpoiled);
      const agreed = await conversation.takeAnswers(secured);
      count += await this.finish(socket, spoiler ? undefined : agreed, plan);
    } else {
      await socket.untilOver();
      expectThat(socket.available === 0, () => `${client} was answered`);
    }
    socket.close();
    wire.check();
    return count;
  }

  /** Uses the export, if there is one, and leaves. */
  private async finish(socket: FuzzSocket, agreed: Agreed | undefined, { requestSeed }: TlsPlan): Promise<number> {
    const count = agreed ? await this.use(socket, agreed, new Random(requestSeed)) : 0;
    socket.finish();
    await socket.untilOver();
    expectThat(!agreed || socket.available === 0, () => `${socket.available} bytes came after the last reply`);
    return count;
  }

  private async use(socket: FuzzSocket, { disk, ...agreed }: Agreed, random: Random): Promise<number> {
    const model = this.models.get(disk.name)!;
    const client = { ...agreed, contexts: false, pipelined: false, waves: [], cuts: [] };
    const requests = Array.from(
      { length: 1 + random.below(MAX_REQUESTS) },
      () => planRequest(random, disk, LONGEST_REQUEST_BYTES, agreed.extended),
      // Which contexts the client has is not known here.
    ).filter(({ command }) => command !== Command.BLOCK_STATUS);
    const wave = new Wave(requests, ++this.lastSalt, disk, client, model);
    const bytes = wave.encode();
    await socket.send(bytes, cutPoints(random, bytes.length));
    const reader = new ReplyReader(socket, client, new Map(), model, () => false);
    expectThat(await reader.takeAll(wave), () => 'the server closed the connection with requests unanswered');
    const encode = agreed.extended ? encodeExtendedRequest : encodeRequest;
    await socket.send(encode({ command: Command.DISC }));
    return requests.length;
  }
}

function isGuest(client: TlsClient): client is Guest {
  return (guests as readonly string[]).includes(client);
}

function expectAccepted(replies: Awaited<ReturnType<typeof takeOptionReplies>>): void {
  const last = replies?.at(-1);
  const isAccepted = last?.option === Option.STARTTLS && last.type === OptionReply.ACK;
  expectThat(isAccepted, () => `STARTTLS was answered with option ${last?.option}, type ${last?.type}`);
}
