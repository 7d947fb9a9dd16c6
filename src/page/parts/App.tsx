import { useEffect, useState } from 'preact/hooks';
import { ApiProblem } from '../api-client.js';
import { forgetSession, resumeSession, type Session, signInByToken, signOut } from '../session.js';
import { Overview } from './Overview.js';
import { SignIn } from './SignIn.js';

type State = { readonly is: 'beginning' } | { readonly is: 'out'; readonly why?: string } | SignedIn;
interface SignedIn {
  readonly is: 'in';
  readonly session: Session;
}

/** The page: what the server does, for somebody who is signed in. */
export function App() {
  const [state, setState] = useState<State>({ is: 'beginning' });

  useEffect(() => {
    resumeSession().then(
      (session) => setState(session ? { is: 'in', session } : { is: 'out' }),
      (error: Error) => setState({ is: 'out', why: explain(error) }),
    );
  }, []);

  if (state.is === 'beginning') return <p class="loading">tidemark</p>;
  if (state.is === 'out') {
    const enter = async (token: string) => {
      try {
        setState({ is: 'in', session: await signInByToken(token) });
      } catch (error) {
        setState({ is: 'out', why: explain(error as Error) });
      }
    };
    return <SignIn why={state.why} onToken={enter} />;
  }
  const { session } = state;
  const leave = () => {
    setState({ is: 'out' });
    signOut(session).catch((error: Error) => setState({ is: 'out', why: explain(error) }));
  };
  const refused = () => {
    forgetSession();
    setState({ is: 'out', why: 'The server does not accept your sign-in any more. Sign in again.' });
  };
  return <Overview session={session} onSignOut={leave} onRefused={refused} />;
}

function explain(error: Error): string {
  if (!(error instanceof ApiProblem)) return 'The server does not answer.';
  return error.hint === '' ? error.message : `${error.message}: ${error.hint}`;
}
