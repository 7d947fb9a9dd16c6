import { Command, CommandFlag } from './constants.js';
import type { Cookie } from './request.js';

const nameByCommand = new Map<number, string>(
  Object.entries(Command).map(([name, command]) => [command, `NBD_CMD_${name}`]),
);

/** The name in the protocol document: `NBD_CMD_WRITE_ZEROES` for 6. `command 42` for a command that there is not. */
export function commandName(command: number): string {
  return nameByCommand.get(command) ?? `command ${command}`;
}

/** The flags of a request: `['FUA', 'DF']`, and in hexadecimal those that have no name. */
export function flagNames(flags: number): string[] {
  const named = Object.entries(CommandFlag).filter(([, flag]) => (flags & flag) !== 0);
  const unnamed = named.reduce((rest, [, flag]) => rest & ~flag, flags);
  return [...named.map(([name]) => name), ...(unnamed === 0 ? [] : [`0x${unnamed.toString(16)}`])];
}

/** The 8 bytes in hexadecimal, in the order in which they are sent. */
export function cookieText({ cookieHigh, cookieLow }: Cookie): string {
  return `0x${hexOfWord(cookieHigh)}${hexOfWord(cookieLow)}`;
}

function hexOfWord(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}
