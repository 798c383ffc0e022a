/**
 * How does a value cross between JavaScript and Postgres?
 *
 * Nothing loses digits on the way. int8 and numeric come back as text, because a number would round
 * them and JSON.stringify throws on a bigint. timestamptz is an instant, so it is a Date (to the
 * millisecond; what a Date cannot hold, such as `infinity`, stays text). date and timestamp are no
 * instants and stay text. Arrays of the types below are arrays; of any other type, text.
 */

/** What the driver wants to know about one type. */
export type TypeHandler = {
  to: number;
  from: number[];
  serialize: (value: unknown) => string;
  parse: (text: string) => unknown;
};

type Element = {
  array: number;
  write: (value: unknown) => string;
  read: (text: string) => unknown;
};

const asText = { write: plain, read: (text: string): unknown => text };
const asNumber = { write: plain, read: (text: string): unknown => Number(text) };
const asJson = {
  write: (value: unknown) => JSON.stringify(value),
  read: (text: string): unknown => JSON.parse(text),
};

/** Built-in types by OID, from pg_type.dat; these numbers never change. */
const ELEMENTS: ReadonlyMap<number, Element> = new Map([
  [16, { array: 1000, write: plain, read: (text: string): unknown => text === 't' }], // bool
  [17, { array: 1001, write: plain, read: (text: string): unknown => bytes(text) }], // bytea
  [19, { array: 1003, ...asText }], // name
  [20, { array: 1016, ...asText }], // int8
  [21, { array: 1005, ...asNumber }], // int2
  [23, { array: 1007, ...asNumber }], // int4
  [25, { array: 1009, ...asText }], // text
  [26, { array: 1028, ...asNumber }], // oid
  [114, { array: 199, ...asJson }], // json
  [700, { array: 1021, ...asNumber }], // float4
  [701, { array: 1022, ...asNumber }], // float8
  [869, { array: 1041, ...asText }], // inet
  [1042, { array: 1014, ...asText }], // bpchar
  [1043, { array: 1015, ...asText }], // varchar
  [1082, { array: 1182, ...asText }], // date
  [1114, { array: 1115, ...asText }], // timestamp
  [1184, { array: 1185, write: plain, read: instant }], // timestamptz
  [1700, { array: 1231, ...asText }], // numeric
  [2950, { array: 2951, ...asText }], // uuid
  [3220, { array: 3221, ...asText }], // pg_lsn
  [3802, { array: 3807, ...asJson }], // jsonb
]);

/** What replaces the driver's own choices. */
export function typeHandlers(): Record<string, TypeHandler> {
  const handlers: Record<string, TypeHandler> = {};
  // The driver would read date and timestamp in the zone of this process, and reparse text for
  // timestamptz, which drops microseconds and throws on 'infinity'.
  for (const oid of [1082, 1114, 1184]) {
    const read = oid === 1184 ? instant : asText.read;
    handlers[`scalar_${oid}`] = { to: oid, from: [oid], serialize: plain, parse: read };
  }
  // The driver learns of array types with a query of its own per connection. These are known.
  for (const { array, write, read } of ELEMENTS.values()) {
    handlers[`array_${array}`] = {
      to: array,
      from: [array],
      serialize: (value) => (Array.isArray(value) ? arrayText(value, write) : plain(value)),
      parse: (text) => parseArray(text, read),
    };
  }
  return handlers;
}

/**
 * The array type of a parameter, 0 when the server shall infer it. The driver declares the type of
 * the first *element* for these, and would then send `[true, true]` to a bool as false.
 */
export function arrayTypeOf(values: readonly unknown[], element?: number): number {
  if (element !== undefined) return ELEMENTS.get(element)?.array ?? 0;
  let first = values[0];
  while (Array.isArray(first)) first = first[0];
  if (typeof first === 'boolean') return 1000;
  if (typeof first === 'bigint') return 1016;
  if (first instanceof Date) return 1185;
  return first instanceof Uint8Array ? 1001 : 0;
}

export function arrayText(values: readonly unknown[], write: (value: unknown) => string): string {
  const parts = values.map((value) => {
    if (value === null) return 'NULL';
    if (value === undefined) throw new TypeError('undefined in an array parameter');
    if (Array.isArray(value)) return arrayText(value, write);
    return `"${write(value).replace(/["\\]/g, '\\$&')}"`;
  });
  return `{${parts.join(',')}}`;
}

/** Reads `{1,NULL,{"a \"b\"",c}}`, with or without bounds in front (`[0:1]={...}`). */
export function parseArray(text: string, read: (text: string) => unknown): unknown[] {
  let at = text.indexOf('{') + 1;
  return list();

  function list(): unknown[] {
    const values: unknown[] = [];
    while (text[at] !== '}') {
      if (at >= text.length) throw new TypeError('Postgres sent half an array');
      if (text[at] === ',') at++;
      else values.push(value());
    }
    at++;
    return values;
  }

  function value(): unknown {
    if (text[at] === '{') {
      at++;
      return list();
    }
    if (text[at] === '"') return read(quoted());
    const from = at;
    while (at < text.length && text[at] !== ',' && text[at] !== '}') at++;
    const bare = text.slice(from, at);
    return bare === 'NULL' ? null : read(bare);
  }

  function quoted(): string {
    let out = '';
    for (at++; text[at] !== '"'; at++) {
      if (at >= text.length) throw new TypeError('Postgres sent half an array');
      if (text[at] === '\\') at++;
      out += text[at];
    }
    at++;
    return out;
  }
}

function instant(text: string): unknown {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : date;
}

function plain(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  return String(value);
}

function bytes(text: string): Buffer {
  return Buffer.from(text.slice(2), 'hex');
}
