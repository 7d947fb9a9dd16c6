import type { Command } from 'commander';

export function addStateCommands(_program: Command): void {}
