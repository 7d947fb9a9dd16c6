import { Client } from 'undici';

/** Asks the control API on a unix socket. @throws Error with the answer when it refuses */
export async function callControl<Answer>(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body?: object,
): Promise<Answer> {
  const client = new Client('http://tidemark', { socketPath });
  try {
    const json = body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    const { statusCode, body: answer } = await client.request({ method, path, ...json });
    const text = await answer.text();
    if (statusCode >= 400) throw new Error(`${method} ${path}: ${text}`);
    return JSON.parse(text) as Answer;
  } finally {
    await client.close();
  }
}
