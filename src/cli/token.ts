import { type Command, InvalidArgumentError, Option } from 'commander';
import type { MadeToken, Token } from '../api/token.js';
import { DEFAULT_TOKEN_DAYS, type Right, rights } from '../api/values.js';
import {
  type CommonOptions,
  controlClient,
  formatTable,
  print,
  secondsArgument,
  withCommonOptions,
} from './command-line.js';
import { writeLine } from './output.js';

interface CreateOptions extends CommonOptions {
  readonly right: readonly Right[];
  readonly export?: readonly string[];
  readonly name?: string;
  readonly expires?: number | null;
}

const help = `
The token is the only line on stdout, and is not shown again. Whoever has it may do what it allows, so let nobody else
read the file:

  (umask 077; tidemark token create --right backup --export 'vm*' >token)
  tidemark pull vm1 --bitmap nightly --to /backup --control https://HOST:PORT --token-file token`;

export function addTokenCommands(program: Command): void {
  const group = program.command('token').description('manage the tokens for commands from other machines');
  addCreate(group);

  withCommonOptions(group.command('list').description('list the tokens, without their secrets')).action(
    async (options: CommonOptions) => {
      const answer = await controlClient(options).get<{ tokens: Token[] }>('tokens');
      print(options, answer, ({ tokens }) => tokenTable(tokens));
    },
  );

  withCommonOptions(
    group
      .command('remove')
      .argument('<ID>', 'the ID that tidemark token list shows')
      .description('make a token invalid, at once, and those that were made with it'),
  ).action(async (id: string, options: CommonOptions) => {
    await controlClient(options).delete(['tokens', id]);
    print(options, { removed: id }, () => `removed ${id}`);
  });
}

function addCreate(group: Command): void {
  withCommonOptions(group.command('create').description('make a token, and print it'))
    .addOption(
      new Option('--right <RIGHT>', `what its holder may do: ${rights.join(', ')} (may be repeated)`)
        .argParser(collectRights)
        .makeOptionMandatory(),
    )
    .option(
      '--export <PATTERN>',
      "names of exports, such as 'vm*' (may be repeated; default: all)",
      (pattern: string, before: readonly string[] = []) => [...before, pattern],
    )
    .option('--name <TEXT>', 'a note on whom the token is for')
    .option(
      '--expires <TIME>',
      `how long it is valid, such as 12h or 30d, or never (default: ${DEFAULT_TOKEN_DAYS}d)`,
      expiryArgument,
    )
    .addHelpText('after', help)
    .action(async (options: CreateOptions) => {
      const { right, export: exports, name, expires: ttlSeconds } = options;
      const wanted = { rights: right, exports, name, ttlSeconds };
      const made = await controlClient(options).post<MadeToken>(['tokens'], wanted);
      if (!options.json) writeLine(process.stderr, `made ${made.id}, ${validity(made)}`);
      print(options, made, ({ token }) => token);
    });
}

function collectRights(given: string, before: readonly Right[] = []): Right[] {
  const right = rights.find((one) => one === given);
  if (right === undefined)
    throw new InvalidArgumentError(`Expected ${rights.slice(0, -1).join(', ')} or ${rights.at(-1)}.`);
  return [...before, right];
}

function expiryArgument(given: string): number | null {
  return given === 'never' ? null : secondsArgument(given);
}

function validity({ expiresAt }: Token): string {
  return expiresAt === null ? 'valid until it is removed' : `valid until ${expiresAt}`;
}

function tokenTable(tokens: readonly Token[]): string {
  const rows = tokens.map(({ id, name = '', rights: given, exports, createdAt, expiresAt, madeBy = '' }) => [
    id,
    given.join(' '),
    exports.join(' '),
    createdAt,
    expiresAt ?? 'never',
    madeBy,
    name,
  ]);
  return formatTable(['ID', 'RIGHTS', 'EXPORTS', 'MADE', 'EXPIRES', 'MADE BY', 'NAME'], rows);
}
