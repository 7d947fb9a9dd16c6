import { Argument, type Command } from 'commander';
import { print, withOfflineOptions } from './command-line.js';
import { type CommandNode, walkCommands } from './command-tree.js';

const help = `
Examples:
  tidemark completion bash >/etc/bash_completion.d/tidemark
  tidemark completion zsh >/usr/local/share/zsh/site-functions/_tidemark
  tidemark completion fish >~/.config/fish/completions/tidemark.fish`;

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript };

export function addCompletionCommand(program: Command): void {
  withOfflineOptions(
    program.command('completion').description('print a script that makes a shell complete commands and options'),
  )
    .addArgument(new Argument('<SHELL>', 'the shell to write the script for').choices(Object.keys(scripts)))
    .addHelpText('after', help)
    .action((shell: keyof typeof scripts, options: { json?: boolean }) => {
      const script = scripts[shell](walkCommands(program));
      print(options, { shell, script }, () => script.trimEnd());
    });
}

/** A `case` pattern that matches every command except the program itself. */
function patterns(nodes: readonly CommandNode[]): string {
  return nodes
    .slice(1)
    .map(({ path }) => `'${path}'`)
    .join(' | ');
}

const flagsOf = (node: CommandNode) => node.options.flatMap(({ long }) => long ?? []);

function bashScript(nodes: readonly CommandNode[]): string {
  const cases = nodes.map((node) => {
    const words = [...node.subcommands.map((command) => command.name()), ...flagsOf(node)];
    return `    '${node.path}') words='${words.join(' ')}' ;;`;
  });
  return `# Completion of tidemark for bash.
_tidemark() {
  local word=\${COMP_WORDS[COMP_CWORD]} command=tidemark words= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command \${COMP_WORDS[i]}" in
    ${patterns(nodes)}) command="$command \${COMP_WORDS[i]}" ;;
    esac
  done
  case "$command" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _tidemark tidemark
`;
}

function zshScript(nodes: readonly CommandNode[]): string {
  const item = (name: string, text: string) => `'${`${name}:${text.replace(/:/g, '\\:')}`.replace(/'/g, "'\\''")}'`;
  const cases = nodes.map((node) => {
    const commands = node.subcommands.map((command) => item(command.name(), command.description()));
    const options = node.options.flatMap(({ long, description }) => (long ? item(long, description) : []));
    return `    ('${node.path}')
      commands=(${commands.join(' ')})
      options=(${options.join(' ')})
      ;;`;
  });
  return `#compdef tidemark
# Completion of tidemark for zsh.
_tidemark() {
  local command=tidemark i
  local -a commands options
  for ((i = 2; i < CURRENT; i++)); do
    case "$command \${words[i]}" in
    (${patterns(nodes)}) command="$command \${words[i]}" ;;
    esac
  done
  case "$command" in
${cases.join('\n')}
  esac
  if [[ $PREFIX == -* ]]; then
    _describe -o option options
  elif ((\${#commands})); then
    _describe command commands
  else
    _files
  fi
}
if [[ \${funcstack[1]} == _tidemark ]]; then
  _tidemark "$@"
else
  compdef _tidemark tidemark
fi
`;
}

function fishScript(nodes: readonly CommandNode[]): string {
  const quote = (text: string) => `'${text.replace(/[\\']/g, '\\$&')}'`;
  const lines = nodes.flatMap((node) => {
    const complete = `complete -c tidemark -n ${quote(`__tidemark_at ${quote(node.path)}`)}`;
    const commands = node.subcommands.map(
      (command) => `${complete} -f -a ${command.name()} -d ${quote(command.description())}`,
    );
    const options = node.options.flatMap(({ long, required, description }) =>
      long ? `${complete} -l ${long.slice(2)}${required ? ' -r' : ''} -d ${quote(description)}` : [],
    );
    return [...commands, ...options];
  });
  return `# Completion of tidemark for fish.
function __tidemark_at
    set -l command tidemark
    for word in (commandline -opc)[2..]
        switch "$command $word"
            case ${nodes
              .slice(1)
              .map(({ path }) => quote(path))
              .join(' ')}
                set command "$command $word"
        end
    end
    test "$command" = "$argv[1]"
end
${lines.join('\n')}
`;
}
