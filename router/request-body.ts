/**
 * How does a request stay the same while its body is not read, or not yet, or not whole?
 *
 * A body may be counted while it is read, and it may be locked until the home is known. Neither
 * reads a byte before the app does.
 */
import type { UnderlyingSource } from 'node:stream/web';
import type { Context } from 'hono';
import { Refusal } from './problem.ts';

/** The body, up to so many bytes. @throws Refusal `body-too-large`, when it is read. */
export function limitedBody(request: Request, bytesMax: number): Request {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let bytes = 0;
  return withBody(request, {
    async pull(controller) {
      // To ask for the body already begins to read it.
      reader ??= request.body?.getReader();
      const read = await reader?.read();
      if (read === undefined || read.done) return controller.close();
      bytes += read.value.byteLength;
      if (bytes > bytesMax) controller.error(new Refusal({ kind: 'body-too-large', bytesMax }));
      else controller.enqueue(read.value);
    },
    cancel: (reason) => reader?.cancel(reason),
  });
}

/** All of the body, which is there for the handler as if nobody had read it. */
export async function wholeBody({ req }: Context): Promise<Uint8Array> {
  const body = new Uint8Array(await req.arrayBuffer());
  const { url, method, headers, signal } = req.raw;
  req.raw = new Request(url, { method, headers, signal, ...(body.length > 0 && { body }) });
  req.bodyCache = {};
  return body;
}

/** What the router remembers of a body that may not be read before the home is known. */
export type LockedBody = { key: Request; tried: boolean };

/** @throws Refusal `body-before-home`, when it is read. */
export function lockedBody(request: Request, lock: LockedBody): Request {
  return withBody(request, {
    pull(controller) {
      lock.tried = true;
      controller.error(new Refusal({ kind: 'body-before-home' }));
    },
  });
}

/** @throws Refusal `write-not-applied` when the client takes longer to send it than is left. */
export async function inTime<T>(body: Promise<T>, leftMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const why = 'Its body was not here when the budget was used up';
    late.reject(new Refusal({ kind: 'write-not-applied', why }));
  }, leftMs);
  return Promise.race([body, late.promise]).finally(() => clearTimeout(timer));
}

function withBody(request: Request, source: UnderlyingSource<Uint8Array>): Request {
  const { url, method, headers, signal } = request;
  // A stream fills itself ahead of its reader, unless there is no room.
  const body = new ReadableStream(source, { highWaterMark: 0 });
  return new Request(url, { method, headers, body, signal, duplex: 'half' } as RequestInit);
}
