/**
 * May this request pass through an edge abroad?
 *
 * `transit` is said of tables, and a request belongs to a route, so the route names the tables that
 * it touches. One that names none is treated as if it touched all of them: what was forgotten is
 * kept at home.
 */
import type { Policy, TableName, Transit } from './policy.ts';

export type RouteTransit =
  | { kind: 'known'; transit: Transit }
  | { kind: 'undeclared'; table: TableName };

export function transitOf({ tables }: Policy, touched: readonly TableName[]): RouteTransit {
  const stranger = touched.find((table) => !tables.has(table));
  if (stranger !== undefined) return { kind: 'undeclared', table: stranger };
  const strict = [...(touched.length === 0 ? tables.keys() : touched)].some((name) => {
    const table = tables.get(name);
    return table?.kind === 'subject' && table.transit === 'redirect';
  });
  return { kind: 'known', transit: strict ? 'redirect' : 'proxy' };
}
