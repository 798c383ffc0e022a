/**
 * How does Terraform learn the provider's schema where the provider itself cannot be had?
 *
 * From this process: it speaks the plugin protocol (gRPC over HTTP/2, version 6) and answers what
 * `terraform validate` and a mocked provider ask: which arguments there are. Terraform is told of it
 * with TF_REATTACH_PROVIDERS and neither looks for a plugin nor downloads one. It creates nothing, and
 * it does not know which values an argument takes.
 */
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { join } from 'node:path';
import { type BlockSchema, jsonType, type ProviderSchema } from './provider-schema.ts';

const ADDRESS = 'registry.terraform.io/hashicorp/aws';
const PROTOCOL = 6;

export type StandIn = {
  /** What Terraform wants in its environment to find this process. */
  environment: Record<string, string>;
  close: () => Promise<void>;
};

export async function standIn(schema: ProviderSchema, folder: string): Promise<StandIn> {
  const socket = join(folder, 'provider.sock');
  const answer = schemaAnswer(schema);
  const server = createServer();
  server.on('stream', (stream, headers) => {
    const path = String(headers[':path']);
    stream.on('error', () => {});
    // The rest of the request says what is validated; the schema has judged that already.
    stream.resume();
    if (path.endsWith('/StartStream')) {
      // A broker for callbacks, which nobody uses. It stays open for as long as Terraform runs.
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    } else if (path.endsWith('/GetProviderSchema')) reply(stream, answer);
    else if (/\/(Validate|Stop|Shutdown)/.test(path)) reply(stream, Buffer.alloc(0));
    else refuse(stream, path);
  });
  await new Promise<void>((done) => server.listen(socket, done));
  const found = {
    Protocol: 'grpc',
    ProtocolVersion: PROTOCOL,
    Pid: process.pid,
    Test: true,
    Addr: { Network: 'unix', String: socket },
  };
  return {
    environment: { TF_REATTACH_PROVIDERS: JSON.stringify({ [ADDRESS]: found }) },
    close: () => closed(server),
  };
}

function reply(stream: ServerHttp2Stream, message: Buffer): void {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.concat([head, message]));
}

const GRPC_UNIMPLEMENTED = '12';

function refuse(stream: ServerHttp2Stream, path: string): void {
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc',
      'grpc-status': GRPC_UNIMPLEMENTED,
      'grpc-message': `the stand-in does not do ${path}`,
    },
    { endStream: true },
  );
}

function closed(server: Http2Server): Promise<void> {
  return new Promise((done) => server.close(() => done()));
}

// The messages, by the numbers that the plugin protocol gives their fields.

function schemaAnswer({ configuration, resources, data }: ProviderSchema): Buffer {
  const named = (field: number, blocks: Record<string, BlockSchema>) =>
    Object.entries(blocks).map(([type, block]) =>
      bytes(field, Buffer.concat([bytes(1, type), bytes(2, schemaOf(block))])),
    );
  return Buffer.concat([
    bytes(1, schemaOf(configuration)),
    ...named(2, resources),
    ...named(3, data),
  ]);
}

function schemaOf(block: BlockSchema): Buffer {
  return bytes(2, blockOf(block));
}

const NESTING = { single: 1, list: 2, set: 3 };

function blockOf({ arguments: own, blocks }: BlockSchema): Buffer {
  return Buffer.concat([
    ...Object.entries(own).map(([name, text]) => {
      const [type = '', ...how] = text.split(' ');
      return bytes(
        2,
        Buffer.concat([
          bytes(1, name),
          bytes(2, JSON.stringify(jsonType(type))),
          number(4, how.includes('required') ? 1 : 0),
          number(5, how.includes('optional') ? 1 : 0),
          number(6, how.includes('computed') ? 1 : 0),
        ]),
      );
    }),
    ...Object.entries(blocks).map(([name, nested]) =>
      bytes(
        3,
        Buffer.concat([
          bytes(1, name),
          bytes(2, blockOf(nested)),
          number(3, NESTING[nested.nesting]),
          number(4, nested.min),
          number(5, nested.max),
        ]),
      ),
    ),
  ]);
}

function bytes(field: number, content: string | Buffer): Buffer {
  const body = Buffer.from(content as string);
  return Buffer.concat([varint(field * 8 + 2), varint(body.length), body]);
}

function number(field: number, value: number): Buffer {
  return value === 0 ? Buffer.alloc(0) : Buffer.concat([varint(field * 8), varint(value)]);
}

function varint(value: number): Buffer {
  const groups: number[] = [];
  let rest = value;
  while (rest > 127) {
    groups.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...groups, rest]);
}
