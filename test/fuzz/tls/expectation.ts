import { InfoType, Option, OptionError, OptionReply, TransmissionFlag } from '../../../src/protocol/constants.js';
import type { OptionReply as Reply } from '../../support/raw-client.js';
import type { PlannedOption } from '../handshake/plan.js';
import { expectThat } from '../target.js';
import type { FuzzDisk } from '../transmission/disks.js';
import { type Sight, vaults } from './sight.js';

const { UNKNOWN, POLICY, INVALID, TLS_REQD } = OptionError;
const { ACK } = OptionReply;

/** Checks all replies to one option against what the client may see. @throws WrongAnswer */
export function checkAnswer(planned: PlannedOption, replies: readonly Reply[], sight: Sight): void {
  const { option, bytes, exportName } = planned;
  const { type, data } = replies.at(-1)!;
  const about = exportName === undefined ? '' : ` of "${exportName}"`;
  const what = () => `option ${option}${about} by ${sight.who} was answered with ${type.toString(16)} ${data}`;
  expectThat(replies.at(-1)!.option === option && possibleEnds(planned, sight).includes(type), what);
  for (const name of sight.hidden) {
    if (bytes.includes(name)) expectThat(type !== ACK, what);
    else expectThat(!replies.some((reply) => reply.data.includes(name)), () => `${name} is told, which is hidden`);
  }
  const isRefused = exportName !== undefined && (type === UNKNOWN || type === TLS_REQD);
  if (isRefused) expectThat(data.equals(unknownText(planned, exportName, sight)), what);
  if (option === Option.LIST && type === ACK) checkList(replies.slice(0, -1), sight);
}

/** The disk that INFO or GO has described, as the client may use it. @throws WrongAnswer if it does not see it */
export function describedDisk(replies: readonly Reply[], sight: Sight): FuzzDisk {
  const infos = replies.filter(({ type }) => type === OptionReply.INFO).map(({ data }) => data);
  const facts = infos.find((data) => data.readUInt16BE(0) === InfoType.EXPORT);
  expectThat(facts?.length === 12, () => 'the answer does not describe the export');
  const disk = diskOf(Number(facts.readBigUInt64BE(2)), facts.readUInt16BE(10), sight);
  const name = infos.find((data) => data.readUInt16BE(0) === InfoType.NAME)?.toString('utf8', 2);
  expectThat(name === undefined || name === disk.name, () => `the name of ${disk.name} is told as ${name}`);
  return disk;
}

/** The disk of this size. @throws WrongAnswer if the client does not see it, or its flags do not fit its rights */
export function diskOf(sizeBytes: number, flags: number, sight: Sight): FuzzDisk {
  const disk = vaults.find((vault) => vault.sizeBytes === sizeBytes);
  const reach = disk ? sight.reachOf(disk.name) : 'nothing';
  expectThat(disk !== undefined && reach !== 'nothing', () => `a hidden export of ${sizeBytes} bytes is described`);
  const readOnly = (flags & TransmissionFlag.READ_ONLY) !== 0;
  expectThat(readOnly === (reach !== 'write'), () => `a client with ${reach} on ${disk.name} has flags ${flags}`);
  return { ...disk, readOnly };
}

/** Whether the client may choose the export for transmission. */
export function mayUse(exportName: string, sight: Sight): boolean {
  return ['read', 'write'].includes(sight.reachOf(sight.nameFor(exportName)));
}

function possibleEnds({ option, endsWith = [], exportName }: PlannedOption, sight: Sight): readonly number[] {
  if (exportName === undefined) return endsWith;
  if (exportName.includes('\0')) return [INVALID];
  const isQuery = option === Option.LIST_META_CONTEXT || option === Option.SET_META_CONTEXT;
  const reach = sight.reachOf(sight.nameFor(exportName));
  const isEnough = mayUse(exportName, sight) || (reach === 'list' && option === Option.INFO);
  const refusal = reach === 'nothing' ? UNKNOWN : POLICY;
  // Contexts need structured replies first.
  if (isQuery) return [INVALID, isEnough ? ACK : refusal];
  return [isEnough ? ACK : sight.secured ? refusal : TLS_REQD];
}

/** What is said of an export that does not exist. */
function unknownText({ option }: PlannedOption, exportName: string, sight: Sight): Buffer {
  const isDescription = option === Option.INFO || option === Option.GO;
  const forWhom = isDescription && !sight.secured ? ' for clients without TLS' : '';
  return Buffer.from(`there is no export "${exportName}"${forWhom}`);
}

function checkList(replies: readonly Reply[], { visible }: Sight): void {
  const names = replies.map(({ data }) => data.toString('utf8', 4, 4 + data.readUInt32BE(0)));
  expectThat(names.sort().join() === visible.join(), () => `the list has ${names} in place of ${visible}`);
}
