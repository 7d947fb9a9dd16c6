import type { Command, Option } from 'commander';

/** One command as a user types it. */
export interface CommandNode {
  /** Its words, the program's name first: `tidemark bitmap add`. */
  readonly path: string;
  readonly command: Command;
  /** Those below it; none for a command that does something. */
  readonly subcommands: readonly Command[];
  readonly options: readonly Option[];
}

/** A command and all those below it, each before its own. */
export function walkCommands(command: Command, above = ''): CommandNode[] {
  const path = above === '' ? command.name() : `${above} ${command.name()}`;
  const help = command.createHelp();
  // Commander's own command "help" is none of the tree.
  const subcommands = help.visibleCommands(command).filter((visible) => command.commands.includes(visible));
  const node = { path, command, subcommands, options: help.visibleOptions(command) };
  return [node, ...subcommands.flatMap((subcommand) => walkCommands(subcommand, path))];
}
