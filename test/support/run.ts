import { execFile } from 'node:child_process';

const TIME_LIMIT_SECONDS = 50;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

export interface Outcome {
  /** The exit code; -1 if a signal ended the program. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whether it succeeds or not. Rejects if it cannot be started. */
export function outcomeOf(program: string, ...args: string[]): Promise<Outcome> {
  return outcomeWith(process.env, program, ...args);
}

/** The same with another environment. */
export function outcomeWith(env: NodeJS.ProcessEnv, program: string, ...args: string[]): Promise<Outcome> {
  const options = { env, timeout: TIME_LIMIT_SECONDS * 1000, maxBuffer: MAX_OUTPUT_BYTES };
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (child.pid === undefined) reject(error);
      else resolve({ code: child.exitCode ?? -1, stdout, stderr });
    });
  });
}

/** Runs a program that must succeed. Resolves to its standard output. */
export async function run(program: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await outcomeOf(program, ...args);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
  return stdout;
}
