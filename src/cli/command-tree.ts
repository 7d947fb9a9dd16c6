import type { Command, Option } from 'commander';

/** One command as a user types it. */
export interface CommandNode {
  /** The program's name and the words of the command: `tidemark bitmap add`. */
  readonly path: string;
  readonly command: Command;
  /** Empty for a command that can be run. */
  readonly subcommands: readonly Command[];
  readonly options: readonly Option[];
}

/** A command and all commands below it; each comes before its subcommands. */
export function walkCommands(command: Command, above = ''): CommandNode[] {
  const path = above === '' ? command.name() : `${above} ${command.name()}`;
  const help = command.createHelp();
  // This leaves out the command "help" that commander adds.
  const subcommands = help.visibleCommands(command).filter((visible) => command.commands.includes(visible));
  const node = { path, command, subcommands, options: help.visibleOptions(command) };
  return [node, ...subcommands.flatMap((subcommand) => walkCommands(subcommand, path))];
}
