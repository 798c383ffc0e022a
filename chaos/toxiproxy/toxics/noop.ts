/** What does a toxic cost that does nothing? It only makes the chain one seat longer. */
import { passOn, toxicKind } from '../stage.ts';

export const noop = toxicKind({
  type: 'noop',
  attributes: [],
  run: (_attributes, stage) => passOn(stage),
});
