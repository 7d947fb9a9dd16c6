import { type Static, Type } from '@fastify/type-provider-typebox';
import { Bytes, List } from './shapes.js';
import { tlsModes } from './values.js';

const address = { host: Type.String(), port: Type.Integer() };

export const Server = Type.Object({
  version: Type.String(),
  pid: Type.Optional(Type.Integer({ description: 'Only for administrators of all exports' })),
  startedAt: Type.String(),
  stateDirectory: Type.Optional(Type.String({ description: 'Only for administrators of all exports' })),
  persistent: Type.Boolean({ description: 'Whether bitmaps survive a restart of the server' }),
  connections: Type.Optional(
    Type.Integer({ description: 'Number of connected NBD clients; only for administrators of all exports' }),
  ),
  memory: Type.Optional(
    Type.Object(
      {
        usedBytes: Bytes('Memory in use'),
        limitBytes: Bytes('The memory budget'),
        waitingConnections: Type.Integer({ description: 'Clients whose requests are not read until memory is free' }),
      },
      {
        description:
          'Memory that NBD clients share for large or waiting requests; only for administrators of all exports',
      },
    ),
  ),
  exports: List(Type.String()),
  nbd: Type.Object({
    tcp: List(Type.Object(address)),
    tls: Type.Enum(tlsModes, { description: 'Whether NBD clients cannot, can or must use TLS' }),
    unix: Type.Optional(Type.String()),
  }),
  http: Type.Optional(
    Type.Object(
      {
        ...address,
        tls: Type.Boolean({
          description: 'Whether the address speaks HTTPS, which clients on other machines must use then',
        }),
        tokenFile: Type.Optional(Type.String({ description: 'The file with the token that requests must carry' })),
        metricsOnly: Type.Boolean({ description: 'Only health and metrics are served' }),
      },
      { description: 'The TCP address of this API' },
    ),
  ),
});
export type Server = Readonly<Static<typeof Server>>;
