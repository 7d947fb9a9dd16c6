import { readFile } from 'node:fs/promises';
import { type CommandLine, onCore, Program } from './program.js';

export interface Workload {
  readonly operation: 'randread' | 'randwrite' | 'read' | 'write';
  readonly blockBytes: number;
  readonly depth: number;
}

export interface FioJob extends Workload {
  readonly uri: string;
  readonly sizeBytes: number;
  /** Undefined for one pass over the disk. */
  readonly seconds?: number;
  /** Seconds before that, in which nothing is counted. */
  readonly warmUpSeconds?: number;
  /** Writes one block in each piece of this size. */
  readonly alignBytes?: number;
  /** Bytes to write in one pass, if that is not the whole disk. */
  readonly ioBytes?: number;
  /** Bytes to skip after each block of a sequential write. */
  readonly skipBytes?: number;
  /** The most bytes per second. */
  readonly rateBytes?: number;
  /** Measures the latency of each request, which costs fio some speed. */
  readonly latency: boolean;
}

export interface FioResult {
  readonly iops: number;
  readonly bytesPerSecond: number;
  /** Completion latencies, if they were asked for. */
  readonly latencyMicroseconds: { readonly p50: number; readonly p99: number; readonly p999: number } | undefined;
}

/** The part of fio's JSON that is read here; latencies are in nanoseconds. */
interface FioOutput {
  readonly jobs: readonly { readonly error: number; readonly read: FioDirection; readonly write: FioDirection }[];
}
interface FioDirection {
  readonly iops: number;
  readonly bw_bytes: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

export interface FioEnvironment {
  /** Where fio may leave its report. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Runs fio on the second core, away from the server. */
  readonly pin: boolean;
}

let runs = 0;

/** Runs one job over one connection. */
export async function runFio(job: FioJob, { folder, signal, pin }: FioEnvironment): Promise<FioResult> {
  const report = `${folder}/fio-${++runs}.json`;
  const commandLine = fioCommand(job, report);
  await using fio = new Program(pin ? onCore(1, commandLine) : commandLine, signal);
  await fio.finished();
  const { jobs } = JSON.parse(await readFile(report, 'utf8')) as FioOutput;
  const result = jobs[0];
  if (result?.error !== 0) throw new Error(`fio reports error ${result?.error}`);
  const { iops, bw_bytes, clat_ns } = job.operation.endsWith('read') ? result.read : result.write;
  return { iops, bytesPerSecond: bw_bytes, latencyMicroseconds: percentiles(clat_ns.percentile) };
}

function fioCommand(job: FioJob, report: string): CommandLine {
  return [
    'fio',
    '--name=bench',
    '--ioengine=nbd',
    `--uri=${job.uri}`,
    `--rw=${job.operation}${job.skipBytes === undefined ? '' : `:${job.skipBytes}`}`,
    `--bs=${job.blockBytes}`,
    `--iodepth=${job.depth}`,
    `--size=${job.sizeBytes}`,
    ...(job.seconds === undefined ? onePass(job) : timed(job.seconds, job.warmUpSeconds ?? 0)),
    ...(job.rateBytes === undefined ? [] : [`--rate=${job.rateBytes}`]),
    '--randrepeat=0',
    ...(job.latency ? ['--percentile_list=50:99:99.9'] : ['--gtod_reduce=1']),
    '--output-format=json',
    `--output=${report}`,
  ];
}

function timed(seconds: number, warmUpSeconds: number): string[] {
  return ['--time_based', `--runtime=${seconds}`, `--ramp_time=${warmUpSeconds}`, '--norandommap'];
}

function onePass({ alignBytes, blockBytes, sizeBytes, ioBytes }: FioJob): string[] {
  if (alignBytes === undefined) return [];
  const bytes = ioBytes ?? (sizeBytes / alignBytes) * blockBytes;
  return [`--blockalign=${alignBytes}`, `--io_size=${bytes}`, '--norandommap'];
}

function percentiles(nanoseconds: Readonly<Record<string, number>> | undefined): FioResult['latencyMicroseconds'] {
  if (!nanoseconds) return undefined;
  const at = (percentile: string) => (nanoseconds[percentile] ?? Number.NaN) / 1000;
  return { p50: at('50.000000'), p99: at('99.000000'), p999: at('99.900000') };
}
