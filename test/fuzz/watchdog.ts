import { Worker } from 'node:worker_threads';

/** What is in progress: the number of steps begun, the target, the iteration. */
const FIELDS = 3;
const CODE = `
const { workerData } = require('node:worker_threads');
const { state, names, seed, seconds } = workerData;
const now = new Int32Array(state);
let last = -1;
setInterval(() => {
  const [steps, target, iteration] = now;
  if (steps === last) {
    const what = 'fuzz: stuck in ' + names[target] + ', --seed ' + seed + ' --iteration ' + iteration;
    require('node:fs').writeSync(2, what + ': the event loop did not turn for ' + seconds + ' s\\n');
    process.kill(process.pid, 'SIGKILL');
  }
  last = steps;
}, seconds * 1000);
`;

/** Ends this process, and prints the seed, if code under test in it never returns. */
export class Watchdog {
  private readonly state = new SharedArrayBuffer(FIELDS * Int32Array.BYTES_PER_ELEMENT);
  private readonly now = new Int32Array(this.state);
  private readonly worker: Worker;

  constructor(
    private readonly names: readonly string[],
    seed: number,
    seconds: number,
  ) {
    this.worker = new Worker(CODE, { eval: true, workerData: { state: this.state, names, seed, seconds } });
    this.worker.unref();
  }

  note(target: string, iteration: number): void {
    this.now[1] = this.names.indexOf(target);
    this.now[2] = iteration;
    this.now[0]!++;
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
  }
}
