/**
 * In a few words, how was a request decided?
 *
 * From `Domicile-Decision`, a list whose first member is of the edge that was asked and whose last one
 * is of the edge that answered: `forward;to=eu, serve;node=eu-a;rung=primary`.
 */

export const DECISIONS = [
  'serve replica',
  'serve primary',
  'serve mirror',
  'forward',
  'redirect',
  'refuse',
  'other',
  'no answer',
] as const;
export type Decided = (typeof DECISIONS)[number];

/** A request that was forwarded and refused there counts as refused. */
export function decided(field: string | undefined): Decided {
  if (field === undefined || field === '') return 'no answer';
  const members = split(field, ',').map((member) => split(member, ';').map((part) => part.trim()));
  if (members.some(([name]) => name === 'refuse')) return 'refuse';
  const [name, ...parameters] = members[0] ?? [];
  switch (name) {
    case 'forward':
      return 'forward';
    case 'redirect':
      return 'redirect';
    case 'serve':
      return served(parameters);
    default:
      return 'other';
  }
}

function served(parameters: readonly string[]): Decided {
  const rung = parameters.find((part) => part.startsWith('rung='))?.slice('rung='.length);
  if (rung === 'primary') return 'serve primary';
  if (rung === 'mirror') return 'serve mirror';
  return rung?.startsWith('replica') === true ? 'serve replica' : 'other';
}

/** What is in quotes is not split. */
function split(field: string, mark: string): string[] {
  const parts: string[] = [];
  let [part, quoted] = ['', false];
  for (let at = 0; at < field.length; at += 1) {
    const sign = field[at] ?? '';
    if (quoted && sign === '\\') {
      part += sign + (field[at + 1] ?? '');
      at += 1;
      continue;
    }
    if (sign === '"') quoted = !quoted;
    if (sign === mark && !quoted) {
      parts.push(part);
      part = '';
    } else part += sign;
  }
  return [...parts, part];
}
