import { describe, expect, test } from 'vitest';
import { NbdConnectionError, NbdOptionError, NbdProtocolError } from '../../src/client/errors.js';
import { listContexts, listExports } from '../../src/client/listing.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { counted, u16, u32, u64 } from '../support/raw-client.js';
import { infoExport, optionReply, type ScriptedPeer, startScriptedServer } from '../support/scripted-server.js';

type Script = (server: ScriptedPeer) => Promise<void>;

const STRUCTURED_REPLY = 8;
const EXTENDED_HEADERS = 11;
const GO = 7;
const ABORT = 2;
const LIST = 3;
const LIST_META_CONTEXT = 9;
const SET_META_CONTEXT = 10;
const ACK = 1;
const ERROR = 2 ** 31;

async function connectTo(script: Script, timeoutSeconds = 60): Promise<NbdClient> {
  return NbdClient.connect(await startScriptedServer(script), { timeoutSeconds, contexts: ['base:allocation'] });
}

/** A server that behaves well up to GO and then sends a given answer. */
const atGo =
  (...replies: Buffer[]): Script =>
  async (server) => {
    await server.greet();
    for (;;) {
      const { option } = await server.option();
      if (option === GO) server.send(...replies);
      else server.send(optionReply(option, ERROR + 1));
    }
  };

const blockSizes = (minimum: number, preferred: number, maximum: number) =>
  optionReply(GO, 3, Buffer.concat([u16(3), u32(minimum), u32(preferred), u32(maximum)]));

const goodExport = optionReply(GO, 3, infoExport(2 ** 20, 1));
const acknowledged = optionReply(GO, ACK);

describe('a handshake ends with the reason when the server', () => {
  test('is not an NBD server', async () => {
    const script: Script = async (server) => server.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n'));
    await expect(connectTo(script)).rejects.toThrow(/did not greet like an NBD server/);
  });

  test('speaks only the oldstyle handshake', async () => {
    const script: Script = async (server) =>
      server.send(Buffer.from('NBDMAGIC'), u64(0x0000420281861253n), u64(2 ** 20), Buffer.alloc(128));
    await expect(connectTo(script)).rejects.toThrow(/oldstyle/);
  });

  test('sends something that is not an option reply', async () => {
    const connecting = connectTo(atGo(Buffer.alloc(20)));
    await expect(connecting).rejects.toThrow(NbdProtocolError);
    await expect(connecting).rejects.toThrow(/not an option reply/);
  });

  test('answers a different option', async () => {
    await expect(connectTo(atGo(optionReply(LIST, ACK)))).rejects.toThrow(/answered option 3 when asked for 7/);
  });

  test('announces a reply of unbounded length', async () => {
    const reply = Buffer.concat([u64(0x0003e889045565a9n), u32(GO), u32(3), u32(2 ** 31)]);
    await expect(connectTo(atGo(reply))).rejects.toThrow(/reply of 2147483648 bytes/);
  });

  test('never stops replying to an option', async () => {
    const replies = Array.from({ length: 20_000 }, () => goodExport);
    await expect(connectTo(atGo(...replies))).rejects.toThrow(/sent too much in answer/);
  });

  test('agrees without telling the size', async () => {
    await expect(connectTo(atGo(acknowledged))).rejects.toThrow(/how large the export is/);
  });

  test('describes the export in a message of the wrong length', async () => {
    const reply = optionReply(GO, 3, Buffer.concat([infoExport(2 ** 20, 1), u16(0)]));
    await expect(connectTo(atGo(reply, acknowledged))).rejects.toThrow(/how large the export is/);
  });

  test('has an export larger than 2^53', async () => {
    const reply = optionReply(GO, 3, infoExport(2n ** 63n, 1));
    await expect(connectTo(atGo(reply, acknowledged))).rejects.toThrow(/more than this client can count/);
  });

  test.each([
    ['a minimum that is not a power of two', blockSizes(3, 4096, 2 ** 25)],
    ['a minimum above 64 KiB', blockSizes(2 ** 17, 2 ** 17, 2 ** 25)],
    ['a preferred size below the minimum', blockSizes(4096, 512, 2 ** 25)],
    ['a maximum below the preferred size', blockSizes(512, 4096, 2048)],
    ['a message of the wrong length', optionReply(GO, 3, Buffer.concat([u16(3), u32(1)]))],
  ])('sends block sizes with %s', async (_, reply) => {
    await expect(connectTo(atGo(goodExport, reply, acknowledged))).rejects.toThrow(/block sizes/);
  });

  test('refuses the export, with the message of the server and a hint', async () => {
    const connecting = connectTo(atGo(optionReply(GO, ERROR + 6, Buffer.from('no such\x1b[31m disk'))));
    await expect(connecting).rejects.toThrow(NbdOptionError);
    await expect(connecting).rejects.toMatchObject({
      message: 'the server refused the export "disk": UNKNOWN, no such\\u001b[31m disk',
      hint: expect.stringMatching(/^nbdinfo --list shows .* may hide an export/),
    });
  });

  test.each([
    [5, 'TLS_REQD'],
    [7, 'SHUTDOWN'],
  ])('refuses extended headers with error %i, which would apply to everything else too', async (error, name) => {
    const script: Script = async (server) => {
      await server.greet();
      const { option } = await server.option();
      server.send(optionReply(option, ERROR + error));
      // The client says goodbye, and waits a while for the server to close.
      await server.option();
      server.close();
    };
    await expect(connectTo(script)).rejects.toMatchObject({
      message: `the server refused extended headers: ${name}`,
    });
  });

  test('requires TLS', async () => {
    await expect(connectTo(atGo(optionReply(GO, ERROR + 5)))).rejects.toMatchObject({
      message: 'the server refused the export "disk": TLS_REQD',
      hint: expect.stringContaining('TLS'),
    });
  });

  test('closes the connection in the middle', async () => {
    const script: Script = async (server) => {
      await server.greet();
      server.send(Buffer.alloc(7));
      server.close();
    };
    const connecting = connectTo(script);
    await expect(connecting).rejects.toThrow(NbdConnectionError);
    await expect(connecting).rejects.toThrow(/closed the connection/);
  });

  test('says nothing', async () => {
    await expect(connectTo(async () => {}, 0.1)).rejects.toThrow(/silent for 0.1 s/);
  });

  test('is not there', async () => {
    const connecting = NbdClient.connect('nbd+unix:///?socket=/nowhere/nbd.sock');
    await expect(connecting).rejects.toMatchObject({
      message: 'cannot connect to the NBD server at /nowhere/nbd.sock: ENOENT',
      hint: 'make sure that the server runs, and check the address',
    });
  });
});

test('a client that is refused sends ABORT before it closes', async () => {
  const asked: number[] = [];
  const connecting = connectTo(async (server) => {
    await server.greet();
    for (;;) {
      const { option } = await server.option();
      asked.push(option);
      if (option === ABORT) server.close();
      else server.send(optionReply(option, ERROR + 2));
    }
  });
  await expect(connecting).rejects.toThrow(/POLICY/);
  expect(asked).toEqual([EXTENDED_HEADERS, STRUCTURED_REPLY, GO, ABORT]);
});

describe('metadata contexts are not taken from a server that', () => {
  const atContexts =
    (...replies: Buffer[]): Script =>
    async (server) => {
      await server.greet();
      for (;;) {
        const { option } = await server.option();
        if (option === SET_META_CONTEXT) server.send(...replies);
        else server.send(optionReply(option, option === STRUCTURED_REPLY ? ACK : ERROR + 1));
      }
    };
  const context = (id: number, name: string) => optionReply(10, 4, Buffer.concat([u32(id), Buffer.from(name)]));

  test('selects a context that was not asked for', async () => {
    await expect(connectTo(atContexts(context(1, 'x:other'), optionReply(10, ACK)))).rejects.toThrow(
      /"x:other", which was not asked for/,
    );
  });

  test('gives one id twice', async () => {
    const replies = [context(1, 'base:allocation'), context(1, 'base:allocation'), optionReply(10, ACK)];
    await expect(connectTo(atContexts(...replies))).rejects.toThrow(/two contexts the id 1/);
  });

  test('sends something else instead', async () => {
    await expect(connectTo(atContexts(optionReply(10, 4, u16(1)), optionReply(10, ACK)))).rejects.toThrow(
      /not a metadata context/,
    );
  });
});

describe('a listing ends with the reason when', () => {
  const answering =
    (...replies: Buffer[]): Script =>
    async (server) => {
      await server.greet();
      for (;;) {
        const { option } = await server.option();
        if (option === LIST || option === LIST_META_CONTEXT) server.send(...replies);
        else server.send(optionReply(option, option === STRUCTURED_REPLY ? ACK : ERROR + 1));
      }
    };

  test('the server refuses to list', async () => {
    const target = await startScriptedServer(answering(optionReply(LIST, ERROR + 2)));
    await expect(listExports(target)).rejects.toThrow('the server refused a list of exports: POLICY');
  });

  test('an entry is longer than its reply', async () => {
    const entry = optionReply(LIST, 2, Buffer.concat([u32(100), Buffer.from('disk')]));
    await expect(listExports(await startScriptedServer(answering(entry, optionReply(LIST, ACK))))).rejects.toThrow(
      /not an export in its list/,
    );
  });

  test('a name is not UTF-8', async () => {
    const entry = optionReply(LIST, 2, counted(Buffer.from([0xff, 0xfe])));
    await expect(listExports(await startScriptedServer(answering(entry, optionReply(LIST, ACK))))).rejects.toThrow(
      /not an export in its list/,
    );
  });

  test('the server does not support options', async () => {
    const target = await startScriptedServer(async (server) => void (await server.greet(0)));
    await expect(listExports(target)).rejects.toThrow(/too old/);
  });
});

test('a server without metadata contexts has none', async () => {
  const target = await startScriptedServer(async (server) => {
    await server.greet();
    for (;;) {
      const { option } = await server.option();
      server.send(optionReply(option, option === STRUCTURED_REPLY ? ACK : ERROR + 1));
    }
  });
  expect(await listContexts(target)).toEqual([]);
});

test('a server that has extended headers is not asked for another way to open an export', async () => {
  const asked: number[] = [];
  const connecting = connectTo(async (server) => {
    await server.greet();
    for (;;) {
      const { option } = await server.option();
      asked.push(option);
      if (option === ABORT) server.close();
      else server.send(optionReply(option, option === EXTENDED_HEADERS ? ACK : ERROR + 1));
    }
  });
  await expect(connecting).rejects.toThrow(/the server refused the export "disk": UNSUP/);
  expect(asked).toEqual([EXTENDED_HEADERS, SET_META_CONTEXT, GO, ABORT]);
});
