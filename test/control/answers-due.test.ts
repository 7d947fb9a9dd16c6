import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { expect, onTestFinished, test, vi } from 'vitest';
import { AnswersDue } from '../../src/control/http-server.js';
import { scratchFolder } from '../support/scratch-folder.js';

const REQUEST = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

/** A server that answers only when it is told to. */
async function scene(watchAfter: (socket: Socket) => Promise<unknown> = async () => {}) {
  const due = new AnswersDue();
  const responses: ServerResponse[] = [];
  const server = createServer(async (request, response) => {
    await watchAfter(request.socket);
    due.watch.call(undefined as never, { raw: request } as FastifyRequest, { raw: response } as FastifyReply, () => {});
    responses.push(response);
  });
  const path = join(scratchFolder(), 'http');
  await once(server.listen(path), 'listening');
  const client = connect(path);
  onTestFinished(() => void [client.destroy(), server.close()]);
  return { due, responses, client };
}

test('an answer is due until it is sent', async () => {
  const { due, responses, client } = await scene();
  client.write(REQUEST);
  await vi.waitFor(() => expect(responses).toHaveLength(1));
  expect(due.any).toBe(true);
  responses[0]!.end('done');
  await once(client, 'data');
  expect(due.any).toBe(false);
});

test('no answer is due to a client that is gone, not even one that waits behind another', async () => {
  const { due, responses, client } = await scene();
  client.write(REQUEST.repeat(3));
  await vi.waitFor(() => expect(responses).toHaveLength(3));
  expect(due.any).toBe(true);
  client.destroy();
  await vi.waitFor(() => expect(due.any).toBe(false));
});

test('no answer is due to a client that was gone before its request was looked at', async () => {
  const { due, responses, client } = await scene((socket) => once(socket, 'close'));
  client.write(REQUEST);
  await once(client, 'connect');
  client.end();
  client.destroy();
  await vi.waitFor(() => expect(responses).toHaveLength(1));
  expect(due.any).toBe(false);
});
