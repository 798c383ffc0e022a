/**
 * How is a question put to a program beside the databases, such as a Patroni?
 *
 * One connection for each question, because they are few and what they find out is whether somebody
 * is there at all. Each has a deadline that covers everything, and an answer is read up to a bound.
 * Whatever the other side does is a value.
 */
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';

export type Question = {
  method: 'GET' | 'POST';
  url: string;
  /** Sent as JSON. */
  body?: unknown;
  auth?: Credentials;
  timeoutMs: number;
};

export type Credentials = { user: string; password: string };

export type HttpAnswer =
  | { kind: 'answered'; status: number; text: string }
  /** `sent: false` promises that nobody has seen the question. */
  | { kind: 'failed'; sent: boolean; why: string };

/** A cluster of a hundred members with tags fills some tens of kilobytes. */
export const ANSWER_BYTES_MAX = 1024 * 1024;

export function askHttp({ method, url, body, auth, timeoutMs }: Question): Promise<HttpAnswer> {
  return new Promise((resolve) => {
    let connected = false;
    let answering = false;
    let why: string | undefined;
    const sent = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const options: RequestOptions = {
      method,
      // A connection that an earlier question left behind may lead to a program that is gone.
      agent: false,
      headers: {
        accept: 'application/json',
        ...(sent !== undefined && {
          'content-type': 'application/json',
          'content-length': sent.length,
        }),
        ...(auth !== undefined && { authorization: basic(auth) }),
      },
    };
    const request = url.startsWith('https:') ? httpsRequest : httpRequest;
    const call = request(url, options, (answer) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      answering = true;
      answer.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > ANSWER_BYTES_MAX) give('it says more than anybody needs to read');
        else parts.push(part);
      });
      answer.on('error', failed);
      answer.on('end', () => {
        clearTimeout(limit);
        const text = Buffer.concat(parts).toString();
        resolve({ kind: 'answered', status: answer.statusCode ?? 0, text });
      });
    });
    const give = (because: string) => {
      why = because;
      call.destroy();
      failed(new Error(because));
    };
    function failed(error: Error): void {
      clearTimeout(limit);
      const { code } = error as NodeJS.ErrnoException;
      resolve({ kind: 'failed', sent: connected, why: why ?? code ?? error.message });
    }
    const limit = setTimeout(() => give(`no answer within ${timeoutMs} ms`), timeoutMs);
    call.on('socket', (socket) =>
      socket.on('connect', () => {
        connected = true;
      }),
    );
    call.on('error', failed);
    call.on('close', () => {
      if (!answering) failed(new Error('the connection was closed'));
    });
    call.end(sent);
  });
}

function basic({ user, password }: Credentials): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}
