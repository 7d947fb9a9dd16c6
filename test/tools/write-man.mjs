// Writes man/tidemark.1 from the built commands; `npm pack` does so each time, so it cannot be out of date.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

const { buildProgram } = await import(resolve(root, 'dist/cli/program.js'));
const { walkCommands } = await import(resolve(root, 'dist/cli/command-tree.js'));

const { version } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8'));

/** @param {string} text */
const roff = (text) => text.replace(/\\/g, '\\e').replace(/-/g, '\\-').replace(/^[.']/gm, '\\&$&');

/** @param {string} term @param {string} text */
const entry = (term, text) => `.TP\n.B ${roff(term)}\n${roff(text)}`;

/** @param {{ command: import('commander').Command }} node */
function section({ command }) {
  const help = command.createHelp();
  const operands = help.visibleArguments(command).filter(({ description }) => description);
  return [
    `.SS ${roff(help.commandUsage(command))}`,
    `${roff(help.commandDescription(command))}.`,
    ...operands.map((operand) => entry(help.argumentTerm(operand), help.argumentDescription(operand))),
    ...help.visibleOptions(command).map((option) => entry(help.optionTerm(option), help.optionDescription(option))),
  ].join('\n');
}

/** @type {{ command: import("commander").Command, subcommands: readonly unknown[] }[]} */
const nodes = walkCommands(buildProgram());
const commands = nodes.filter(({ subcommands }) => subcommands.length === 0);
const page = `.TH TIDEMARK 1 "" "tidemark ${version}" "User Commands"
.SH NAME
tidemark \\- NBD server with dirty bitmaps and point\\-in\\-time backups
.SH SYNOPSIS
.B tidemark
.I COMMAND
[\\fIARGUMENT\\fR]...
.SH DESCRIPTION
tidemark serves raw disks, files or block devices, over NBD, records client writes in dirty bitmaps that survive
crashes, and makes point\\-in\\-time views for backups.
.B tidemark serve
is the server; the other commands talk to it, or to the backups that it made.
.PP
Sizes take K, M, G and T (binary).
.B \\-\\-json
prints one JSON document on standard output.
.SH COMMANDS
${commands.map(section).join('\n')}
.SH EXIT STATUS
.TP
.B 0
done
.TP
.B 1
it failed
.TP
.B 2
the command line or the configuration is wrong
.SH ENVIRONMENT
.TP
.B TIDEMARK_CONTROL
control socket of the server, unless \\-\\-control names one
.TP
.B UV_THREADPOOL_SIZE
threads that wait for disks; 64 for a server unless set
.TP
.B LISTEN_FDS, LISTEN_PID, NOTIFY_SOCKET, WATCHDOG_USEC
as systemd sets them: sockets to serve on, and where to tell how the server is doing
.SH FILES
.TP
.I /var/lib/tidemark
state of a server that runs as root; \\fI~/.local/state/tidemark\\fR for others
.SH SEE ALSO
.BR nbdinfo (1),
.BR nbdcopy (1),
.BR qemu\\-img (1),
.BR nbd\\-client (8)
`;

mkdirSync(resolve(root, 'man'), { recursive: true });
writeFileSync(resolve(root, 'man/tidemark.1'), page);
