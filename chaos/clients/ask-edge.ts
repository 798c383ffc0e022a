/**
 * What came of one HTTP request to an edge?
 *
 * An answer, whole and as it is, or none, and then whether anything can have been sent: a connection
 * that was never made carried nothing. On one that was kept from before, the edge may have read a
 * request that it did not answer.
 */
import { type Agent, type IncomingHttpHeaders, request } from 'node:http';

export type Asked = {
  method: 'GET' | 'POST' | 'PUT';
  path: string;
  headers: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  body: unknown;
};

export type Exchange =
  | { kind: 'answered'; status: number; headers: IncomingHttpHeaders; text: string }
  | { kind: 'unanswered'; sent: boolean; why: string };

/** Resolves within `limitMs`, connecting included. */
export function askEdge(
  url: string,
  { method, path, headers, body }: Asked,
  { agent, limitMs }: { agent: Agent; limitMs: number },
): Promise<Exchange> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve) => {
    let sent = false;
    const end = (exchange: Exchange) => {
      clearTimeout(limit);
      resolve(exchange);
    };
    const asked = request(
      url + path,
      {
        method,
        agent,
        headers: {
          ...headers,
          ...(text !== undefined && {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(text),
          }),
        },
      },
      (response) => {
        let received = '';
        response.setEncoding('utf8');
        response.on('data', (part) => {
          received += part;
        });
        response.on('error', fail);
        response.on('end', () => {
          const { statusCode: status = 0, headers: fields } = response;
          end({ kind: 'answered', status, headers: fields, text: received });
        });
      },
    );
    function fail(error: Error): void {
      end({
        kind: 'unanswered',
        sent,
        why: (error as NodeJS.ErrnoException).code ?? error.message,
      });
    }
    const limit = setTimeout(
      () => asked.destroy(new Error(`no whole answer within ${limitMs} ms`)),
      limitMs,
    );
    asked.on('socket', (socket) => {
      if (!socket.connecting) sent = true;
      else
        socket.once('connect', () => {
          sent = true;
        });
    });
    asked.on('error', fail);
    asked.end(text);
  });
}
