import type { TargetedSubmitEvent } from 'preact';

interface Props {
  readonly why: string | undefined;
  readonly onToken: (token: string) => void;
}

/** Asks for a token. */
export function SignIn({ why, onToken }: Props) {
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget).get('token')).trim();
    if (token !== '') onToken(token);
  };
  return (
    <main class="sign-in">
      <h1>tidemark</h1>
      <p>
        To get a link that signs you in, run <code>tidemark page</code> on the machine of the server. Or sign in with a
        token.
      </p>
      <form onSubmit={submit}>
        <label for="token">Token</label>
        <input id="token" name="token" type="password" autocomplete="off" required />
        <button type="submit">Sign in</button>
      </form>
      {why !== undefined && (
        <p role="alert" class="fault">
          {why}
        </p>
      )}
    </main>
  );
}
