import { useState } from 'preact/hooks';
import { formatSpan } from '../format.js';
import type { View } from '../store.js';

type Theme = 'auto' | 'light' | 'dark';
const next: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' };
const THEME_KEY = 'tidemark-theme';

interface Props {
  readonly view: View;
  readonly onSignOut: () => void;
}

export function Header({ view: { server, at }, onSignOut }: Props) {
  const [theme, setTheme] = useState<Theme>(() => applyTheme(keptTheme()));
  const turn = () => {
    const chosen = next[theme];
    localStorage.setItem(THEME_KEY, chosen);
    setTheme(applyTheme(chosen));
  };
  return (
    <header>
      <h1>tidemark</h1>
      {server && (
        <p>
          version {server.version}, up for {formatSpan(at - Date.parse(server.startedAt))}
        </p>
      )}
      <div class="controls">
        <button type="button" onClick={turn}>
          Colours: {theme}
        </button>
        <button type="button" onClick={onSignOut}>
          Sign out
        </button>
      </div>
    </header>
  );
}

function keptTheme(): Theme {
  const kept = localStorage.getItem(THEME_KEY);
  return kept === 'light' || kept === 'dark' ? kept : 'auto';
}

/** `auto` follows the settings of the system. */
function applyTheme(theme: Theme): Theme {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  return theme;
}
