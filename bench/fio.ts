import { readFile } from 'node:fs/promises';
import { type Credentials, withCredentials } from './credentials.js';
import { type CommandLine, onCore, Program } from './program.js';

export interface Workload {
  readonly operation: 'randread' | 'randwrite' | 'read' | 'write';
  readonly blockBytes: number;
  readonly depth: number;
}

export interface FioJob extends Workload {
  readonly uri: string;
  /** The part of the disk that it uses. */
  readonly sizeBytes: number;
  readonly offsetBytes?: number;
  /** Undefined for one pass over the disk. */
  readonly seconds?: number;
  /** Seconds before that, in which nothing is counted. */
  readonly warmUpSeconds?: number;
  /** Writes one block in each piece of this size. */
  readonly alignBytes?: number;
  /** Bytes to read or write, if that is not the whole disk. */
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
  /** Those that were counted. */
  readonly requests: number;
  /** Completion latencies, if they were asked for, of one job. */
  readonly latencyMicroseconds: { readonly p50: number; readonly p99: number; readonly p999: number } | undefined;
}

export interface FioEnvironment {
  /** Where fio may leave its report. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Runs fio on the second core, away from the server. */
  readonly pin: boolean;
  /** For servers with TLS. */
  readonly credentials?: Credentials | undefined;
}

/** The part of fio's JSON that is read here; latencies are in nanoseconds. */
interface FioOutput {
  readonly jobs: readonly { readonly error: number; readonly read: FioDirection; readonly write: FioDirection }[];
}
interface FioDirection {
  readonly iops: number;
  readonly bw_bytes: number;
  readonly total_ios: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

let runs = 0;

/** Runs one job over one connection. */
export function runFio(job: FioJob, environment: FioEnvironment): Promise<FioResult> {
  return runFioJobs([job], environment);
}

/** Runs jobs side by side, each over its own connection and in its own process. Resolves to their sum. */
export async function runFioJobs(jobs: readonly FioJob[], environment: FioEnvironment): Promise<FioResult> {
  const { folder, signal, pin, credentials } = environment;
  const report = `${folder}/fio-${++runs}.json`;
  const command = fioCommand(jobs, report);
  const commandLine = credentials ? withCredentials(credentials, command) : command;
  await using fio = new Program(pin ? onCore(1, commandLine) : commandLine, signal);
  await fio.finished();
  return sumOf(parseReport(await readFile(report, 'utf8'), jobs));
}

function sumOf(results: readonly FioResult[]): FioResult {
  const sum = (value: (result: FioResult) => number) => results.reduce((total, result) => total + value(result), 0);
  return {
    iops: sum(({ iops }) => iops),
    bytesPerSecond: sum(({ bytesPerSecond }) => bytesPerSecond),
    requests: sum(({ requests }) => requests),
    latencyMicroseconds: results.length === 1 ? results[0]!.latencyMicroseconds : undefined,
  };
}

/** The command line of fio. Options in front of the first name apply to all jobs. */
export function fioCommand(jobs: readonly FioJob[], report: string): CommandLine {
  const sections = jobs.flatMap((job, index) => [`--name=job-${index}`, ...optionsOf(job)]);
  // A thread ends together with fio. Several threads would connect too quickly for the backlog of nbd-server.
  const manner = jobs.length === 1 ? ['--thread'] : [];
  return ['fio', '--output-format=json', `--output=${report}`, ...manner, ...sections];
}

function optionsOf(job: FioJob): string[] {
  return [
    '--ioengine=nbd',
    `--uri=${job.uri}`,
    `--rw=${job.operation}${job.skipBytes === undefined ? '' : `:${job.skipBytes}`}`,
    `--bs=${job.blockBytes}`,
    `--iodepth=${job.depth}`,
    `--offset=${job.offsetBytes ?? 0}`,
    `--size=${job.sizeBytes}`,
    ...lengthOf(job),
    ...(job.alignBytes === undefined ? [] : [`--blockalign=${job.alignBytes}`]),
    ...(job.rateBytes === undefined ? [] : [`--rate=${job.rateBytes}`]),
    '--randrepeat=0',
    ...(job.latency ? ['--percentile_list=50:99:99.9'] : ['--gtod_reduce=1']),
  ];
}

function lengthOf({ seconds, warmUpSeconds = 0, alignBytes, ioBytes, sizeBytes, blockBytes }: FioJob): string[] {
  const milliseconds = (duration: number) => `${Math.round(duration * 1000)}ms`;
  if (seconds !== undefined) {
    const times = [`--runtime=${milliseconds(seconds)}`, `--ramp_time=${milliseconds(warmUpSeconds)}`];
    return ['--time_based', ...times, '--norandommap'];
  }
  if (alignBytes === undefined && ioBytes === undefined) return [];
  return [`--io_size=${ioBytes ?? (sizeBytes / alignBytes!) * blockBytes}`, '--norandommap'];
}

/** The results of the jobs, in their order. @throws if one of them failed, or had no request answered */
export function parseReport(text: string, jobs: readonly FioJob[]): FioResult[] {
  // Threads write messages in front of it.
  const output = JSON.parse(text.slice(text.indexOf('{'))) as FioOutput;
  if (output.jobs.length !== jobs.length)
    throw new Error(`fio reports on ${output.jobs.length} of ${jobs.length} jobs`);
  return jobs.map(({ operation }, index) => {
    const { error, read, write } = output.jobs[index]!;
    if (error !== 0) throw new Error(`fio reports error ${error}`);
    const { iops, bw_bytes, total_ios, clat_ns } = operation.endsWith('read') ? read : write;
    if (total_ios === 0) throw new Error(`job ${index} of fio had no request answered`);
    const latencyMicroseconds = percentiles(clat_ns.percentile);
    return { iops, bytesPerSecond: bw_bytes, requests: total_ios, latencyMicroseconds };
  });
}

function percentiles(nanoseconds: Readonly<Record<string, number>> | undefined): FioResult['latencyMicroseconds'] {
  if (!nanoseconds) return undefined;
  const at = (percentile: string) => (nanoseconds[percentile] ?? Number.NaN) / 1000;
  return { p50: at('50.000000'), p99: at('99.000000'), p999: at('99.900000') };
}
