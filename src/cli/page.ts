import type { Command } from 'commander';
import type { SignInLink } from '../api/sign-in.js';
import { CodedError } from '../base/coded-error.js';
import { type CommonOptions, controlClient, print, withCommonOptions } from './command-line.js';
import { writeLine } from './output.js';

const help = `
Whoever opens the link may do what you may do, for 12 hours, so give it to nobody else. It works once.`;

export function addPageCommand(program: Command): void {
  withCommonOptions(
    program.command('page').description('print a link that signs you in to the page of the server, once'),
  )
    .addHelpText('after', help)
    .action(async (options: CommonOptions) => {
      const { url, expiresAt } = await controlClient(options).post<SignInLink>(['sign-in-links'], {});
      if (url === undefined) {
        const hint = 'start the server with --http 127.0.0.1:PORT, and with its own token or --http-token-file';
        throw new CodedError('NOT_FOUND', 'the server has no HTTP address with a page', hint);
      }
      if (!options.json) writeLine(process.stderr, `this link works once, until ${expiresAt}`);
      print(options, { url, expiresAt }, () => url);
    });
}
