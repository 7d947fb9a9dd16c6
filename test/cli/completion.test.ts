import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { outcomeOf, run } from '../support/run.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { tidemarkProgram } from '../support/tidemark.js';

/** Replaces zsh's completion system, which needs a terminal: prints what would be offered. */
const zshStandIn = `
compdef() { }
_files() { print -- files }
_describe() { [[ $1 == -o ]] && shift; print -l -- \${(P)2} }
`;

/** For each shell: how to get the completions of a command line whose last word is being typed. */
const shells: Record<string, (script: string, words: string[]) => string[]> = {
  bash: (script, words) => {
    const line = `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}`;
    return ['bash', '--norc', '-c', `. ${script}; ${line}; _tidemark; printf '%s\\n' "\${COMPREPLY[@]}"`];
  },
  zsh: (script, words) => {
    const line = `words=(${words.map((word) => `'${word}'`).join(' ')}) CURRENT=${words.length} PREFIX='${words.at(-1)}'`;
    return ['zsh', '-f', '-c', `${zshStandIn} . ${script}; ${line}; _tidemark`];
  },
  fish: (script, words) => ['fish', '--no-config', '-c', `source ${script}; complete -C '${words.join(' ')}'`],
};

describe.each(Object.keys(shells))('in %s', (shell) => {
  /** The offered names, without their descriptions. */
  async function offered(...words: string[]): Promise<string[]> {
    const script = join(scratchFolder(), 'script');
    writeFileSync(script, await run(process.execPath, tidemarkProgram, 'completion', shell));
    const [program = '', ...args] = shells[shell]!(script, words);
    const text = await run(program, ...args);
    return text.split('\n').flatMap((line) => line.split(/[\t:]/)[0] || []);
  }

  test('commands are offered', async () => {
    expect(await offered('tidemark', '')).toEqual(
      expect.arrayContaining(['serve', 'export', 'bitmap', 'map', 'state']),
    );
  });

  test('the commands of a group are offered', async () => {
    const commands = await offered('tidemark', 'bitmap', '');
    expect(commands).toEqual(expect.arrayContaining(['list', 'add', 'merge']));
    expect(commands).not.toContain('serve');
  });

  test('the options of a command are offered', async () => {
    const options = await offered('tidemark', 'bitmap', 'add', 'vm1', '--');
    expect(options).toEqual(expect.arrayContaining(['--granularity', '--disabled']));
    expect(options).not.toContain('--listen');
  });
});

test('an unknown shell is a usage error', async () => {
  const { code, stderr } = await outcomeOf(process.execPath, tidemarkProgram, 'completion', 'tcsh');
  expect(code).toBe(2);
  expect(stderr).toContain('Allowed choices are bash, zsh, fish');
});
