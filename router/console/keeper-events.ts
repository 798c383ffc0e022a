/**
 * What did a keeper do, in one sentence?
 *
 * From an entry of its record as it came over HTTP: a keeper of another version may know events
 * that this one does not, and then their kind is all that is said.
 */
import * as z from 'zod';

const text = z.string();
const Event = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('founded') }),
  z.object({ kind: z.literal('alone'), because: text }),
  z.object({ kind: z.literal('admitted'), node: text }),
  z.object({ kind: z.literal('dismissed'), node: text, because: text }),
  z.object({
    kind: z.literal('deposed'),
    node: text,
    because: text,
    loss: z.object({ by: text, why: text }).optional(),
  }),
  z.object({ kind: z.literal('promoted'), node: text }),
  z.object({ kind: z.literal('switchover'), to: text, by: text }),
  z.object({ kind: z.literal('move'), to: z.array(text), by: text }),
  z.object({ kind: z.literal('rejoined'), node: text }),
  z.object({ kind: z.literal('called_off'), because: text }),
  z.object({ kind: z.literal('commits'), mode: text }),
]);

/** `primary`: who is the primary by that entry. */
export function eventInWords(event: { kind: string }, primary: string): string {
  const read = Event.safeParse(event);
  if (!read.success) return `The keeper recorded "${event.kind}".`;
  const { data } = read;
  switch (data.kind) {
    case 'founded':
      return `The keeper began its record with ${primary} as the primary.`;
    case 'alone':
      return `${primary} goes on alone: ${data.because}.`;
    case 'admitted':
      return `Commits wait for ${data.node} as well.`;
    case 'dismissed':
      return `Commits do not wait for ${data.node} any more: ${data.because}.`;
    case 'deposed': {
      const { node, because, loss } = data;
      const answers = loss === undefined ? '' : ` ${loss.by} answers for a loss: ${loss.why}.`;
      return `${primary} is to take over from ${node}: ${because}.${answers}`;
    }
    case 'promoted':
      return `${data.node} is the primary.`;
    case 'switchover':
      return `${primary} is to hand over to ${data.to}, asked for by ${data.by}.`;
    case 'move':
      return `The primary is to move to ${data.to.join(' or ')}, asked for by ${data.by}.`;
    case 'rejoined':
      return `${data.node} is a standby again.`;
    case 'called_off':
      return `What was under way was called off: ${data.because}.`;
    case 'commits':
      return `Commits are ${data.mode} from here on.`;
  }
}
