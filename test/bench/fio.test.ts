import { expect, test } from 'vitest';
import { jobsOf, overwritingJobs } from '../../bench/case-jobs.js';
import { cases } from '../../bench/cases.js';
import { type FioJob, fioCommand, parseReport } from '../../bench/fio.js';
import { GIB, KIB, MIB } from '../../src/base/units.js';

const caseNamed = (name: string) => cases.find((one) => one.name === name)!;

test('random jobs use the whole export, each with a connection of its own', () => {
  const jobs = jobsOf(caseNamed('randwrite-c16'), { uris: ['a'], sizeBytes: GIB }, 2);
  expect(jobs).toHaveLength(16);
  for (const job of jobs) expect(job).toMatchObject({ uri: 'a', sizeBytes: GIB, depth: 4, seconds: 2 });
});

test('sequential jobs divide the export among them', () => {
  const jobs = jobsOf(caseNamed('read-c4'), { uris: ['a'], sizeBytes: GIB }, 1);
  expect(jobs.map(({ offsetBytes, sizeBytes }) => [offsetBytes, sizeBytes])).toEqual(
    [0, 256, 512, 768].map((offset) => [offset * MIB, 256 * MIB]),
  );
});

test('a piece of an export is a number of whole blocks', () => {
  const jobs = jobsOf(caseNamed('write-c16'), { uris: ['a'], sizeBytes: 16 * (MIB + 4 * KIB) }, 1);
  expect(jobs.map(({ offsetBytes }) => offsetBytes! / MIB)).toEqual(Array.from({ length: 16 }, (_, i) => i));
  for (const { sizeBytes } of jobs) expect(sizeBytes).toBe(MIB);
});

test('each of several exports has one connection, and is used as a whole', () => {
  const uris = ['a', 'b', 'c', 'd'];
  for (const name of ['randread-e4', 'write-e4']) {
    const jobs = jobsOf(caseNamed(name), { uris, sizeBytes: GIB }, 1);
    expect(jobs.map(({ uri }) => uri)).toEqual(uris);
    for (const { sizeBytes, offsetBytes = 0 } of jobs) expect([offsetBytes, sizeBytes]).toEqual([0, GIB]);
  }
  expect(overwritingJobs(caseNamed('write-e4'), { uris, sizeBytes: GIB }).map(({ uri }) => uri)).toEqual(uris);
});

test('an export is overwritten over as many connections as it has in the case', () => {
  const jobs = overwritingJobs(caseNamed('randwrite-c4'), { uris: ['a'], sizeBytes: GIB });
  expect(jobs.map(({ operation, offsetBytes, sizeBytes }) => [operation, offsetBytes, sizeBytes])).toEqual(
    [0, 256, 512, 768].map((offset) => ['write', offset * MIB, 256 * MIB]),
  );
});

test('the command has a section for each job', () => {
  const [first, second] = jobsOf(caseNamed('write-c4'), { uris: ['a'], sizeBytes: 64 * MIB }, 0.5);
  const command = fioCommand([first!, second!], 'report.json');
  const sections = command.join(' ').split(' --name=');
  expect(sections[0]).toBe('fio --output-format=json --output=report.json');
  expect(sections.slice(1).map((section) => /--offset=\d+ --size=\d+/.exec(section)?.[0])).toEqual([
    '--offset=0 --size=16777216',
    '--offset=16777216 --size=16777216',
  ]);
  expect(sections[2]).toMatch(/^job-1 .*--time_based --runtime=500ms --ramp_time=0ms/);
});

const none = { iops: 0, bw_bytes: 0, total_ios: 0, clat_ns: {} };
const percentile = { '50.000000': 20_000, '99.000000': 90_000, '99.900000': 100_000 };
const some = { iops: 10, bw_bytes: 40960, total_ios: 20, clat_ns: { percentile } };
const reads: FioJob = { operation: 'randread', blockBytes: 4096, depth: 1, uri: '', sizeBytes: MIB, latency: true };
const report = (...jobs: object[]) => JSON.stringify({ jobs });

test('a report is read in the direction of the job', () => {
  const text = report({ error: 0, read: some, write: none });
  const latencyMicroseconds = { p50: 20, p99: 90, p999: 100 };
  expect(parseReport(`fio: connected to NBD server\n${text}`, [reads])).toEqual([
    { iops: 10, bytesPerSecond: 40960, requests: 20, latencyMicroseconds },
  ]);
});

test.each([
  { text: report({ error: 5, read: some, write: none }), message: 'fio reports error 5' },
  { text: report({ error: 0, read: none, write: some }), message: 'job 0 of fio had no request answered' },
  { text: report(), message: 'fio reports on 0 of 1 jobs' },
])('a report is refused with "$message"', ({ text, message }) => {
  expect(() => parseReport(text, [reads])).toThrow(message);
});
