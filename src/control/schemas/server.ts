import { Type } from '@fastify/type-provider-typebox';
import { Bytes } from './shapes.js';

export const Server = Type.Object({
  version: Type.String(),
  pid: Type.Integer(),
  startedAt: Type.String(),
  stateDirectory: Type.String(),
  persistent: Type.Boolean({ description: 'Bitmaps outlive the server' }),
  connections: Type.Integer({ description: 'NBD clients now' }),
  memory: Type.Object(
    {
      usedBytes: Bytes('What clients hold of it'),
      limitBytes: Bytes('What there is'),
      waitingConnections: Type.Integer({ description: 'Clients that are not read from until there is more' }),
    },
    { description: 'The memory that NBD clients share for large or waiting requests' },
  ),
  exports: Type.Array(Type.String()),
  nbd: Type.Object({
    tcp: Type.Array(Type.Object({ host: Type.String(), port: Type.Integer() })),
    unix: Type.Optional(Type.String()),
  }),
  http: Type.Optional(
    Type.Object(
      {
        host: Type.String(),
        port: Type.Integer(),
        tokenFile: Type.Optional(Type.String({ description: 'The file with the token that requests have to carry' })),
        metricsOnly: Type.Boolean({ description: 'It answers health and metrics, and nothing else' }),
      },
      { description: 'Where this API is open on TCP' },
    ),
  ),
});
