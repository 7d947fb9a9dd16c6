// Exits with 0 when the server in this container reports that it is healthy. The image has no curl.

import { get } from 'node:http';

const TIME_LIMIT_MILLISECONDS = 4000;

const socketPath = process.env.TIDEMARK_CONTROL ?? '/var/lib/tidemark/control.sock';

const asking = get({ socketPath, path: '/healthz', timeout: TIME_LIMIT_MILLISECONDS }, (answer) => {
  answer.resume();
  process.exitCode = answer.statusCode === 200 ? 0 : 1;
});
asking.on('timeout', () => asking.destroy(new Error('no answer in time')));
asking.on('error', (error) => {
  console.error(`unhealthy: ${error.message}`);
  process.exitCode = 1;
});
