/**
 * What does a request body say, read the way the original reads it?
 *
 * Go's decoder stops after the first JSON value, does not mind the case of keys or unknown ones,
 * takes null for "not given", and refuses a value of another type.
 */
import { Refusal } from './refusal.ts';

export type Type = 'string' | 'boolean' | 'integer' | 'number' | 'object';

type Value<T extends Type> = T extends 'string'
  ? string
  : T extends 'boolean'
    ? boolean
    : T extends 'object'
      ? Readonly<Record<string, unknown>>
      : number;

/** The fields that were given; an absent key keeps its default. */
export type Given<Fields extends Record<string, Type>> = {
  [Key in keyof Fields]?: Value<Fields[Key]>;
};

export function parseBody(text: string): unknown | Refusal {
  const trimmed = text.trimStart();
  if (trimmed === '') return badBody('EOF');
  try {
    return JSON.parse(firstValue(trimmed));
  } catch (error) {
    return badBody(error instanceof Error ? error.message : 'not JSON');
  }
}

/** Reads the named fields of an object. */
export function readFields<Fields extends Record<string, Type>>(
  body: unknown,
  fields: Fields,
): Given<Fields> | Refusal {
  if (body === null) return {};
  if (!isObject(body)) return wrongType(body, 'the body', 'object');
  const keys = new Map(Object.keys(fields).map((key) => [key.toLowerCase(), key]));
  const given: Record<string, unknown> = {};
  for (const [sent, value] of Object.entries(body)) {
    const key = keys.get(sent.toLowerCase());
    const type = key === undefined ? undefined : fields[key];
    if (key === undefined || type === undefined || value === null) continue;
    if (!isOfType(value, type)) return wrongType(value, key, type);
    given[key] = value;
  }
  return given as Given<Fields>;
}

function isOfType(value: unknown, type: Type): boolean {
  if (type === 'object') return isObject(value);
  if (type === 'integer') return Number.isInteger(value) && Math.abs(Number(value)) < 2 ** 63;
  return typeof value === type;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function wrongType(value: unknown, where: string, type: string): Refusal {
  const kind = Array.isArray(value) ? 'array' : typeof value;
  return badBody(`json: cannot unmarshal ${kind} into field ${where} of type ${type}`);
}

function badBody(words: string): Refusal {
  return new Refusal(400, `bad request body: ${words}`);
}

/** Cuts off what follows the first object or array. Anything else is left to the JSON parser. */
function firstValue(text: string): string {
  if (!/^[{[]/.test(text)) return text;
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (inString) {
      if (char === '\\') at += 1;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === '{' || char === '[') depth += 1;
    else if (char === '}' || char === ']') {
      depth -= 1;
      if (depth === 0) return text.slice(0, at + 1);
    }
  }
  return text;
}
