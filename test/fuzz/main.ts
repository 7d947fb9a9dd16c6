import { fuzz } from './fuzz.js';
import { FuzzFailure } from './fuzz-failure.js';
import { parseFuzzOptions, USAGE } from './options.js';
import { formatReport } from './report.js';

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    console.log(USAGE);
    return;
  }
  const { replay, ...options } = parseFuzzOptions(args);
  const log = (line: string) => console.log(line);
  log(formatReport(await fuzz(options, log)));
  if (!replay || !options.iterations) return;
  log('The iteration passes by itself. Now all up to it, for what they leave behind:');
  log(formatReport(await fuzz({ ...options, iterations: { first: 0, last: options.iterations.last } }, log)));
}

process.on('unhandledRejection', (error) => {
  throw error;
});
try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof FuzzFailure ? error.cause : error);
  console.error(`fuzz: ${(error as Error).message}`);
  process.exitCode = 1;
}
