/**
 * What did a keeper do, in words?
 *
 * One line for each entry of its record, the same in a terminal and in the console.
 */
import type { KeeperEvent, KeeperRecord } from '../../policies/keeper/record.ts';

export type Recorded = Pick<KeeperRecord, 'event' | 'primary' | 'timeline' | 'standbys'>;

export function eventText({ event, primary, timeline, standbys }: Recorded): string {
  switch (event.kind) {
    case 'founded':
      return `found ${primary} as the primary on timeline ${timeline}, with ${standbys.join(', ') || 'no standby'}`;
    case 'alone':
      return `${primary} goes on alone: ${event.because}`;
    case 'admitted':
      return `${event.node} has everything: commits wait for ${standbys.join(' or ') || 'nobody'}`;
    case 'dismissed':
      return `commits no longer wait for ${event.node}: ${event.because}`;
    case 'deposed':
      return `${event.node} is deposed, ${primary} takes over: ${event.because}${lossText(event)}`;
    case 'promoted':
      return `${primary} writes, on timeline ${timeline}`;
    case 'switchover':
      return `${primary} is to hand over to ${event.to}, asked for by ${event.by}`;
    case 'move': {
      const where = event.site === undefined ? '' : `${event.site}: `;
      return `${primary} is to move to ${where}${event.to.join(' or ')}, asked for by ${event.by}`;
    }
    case 'rejoined':
      return `${event.node} is a standby of ${primary} again`;
    case 'feeds_ended':
      return event.peers.length === 0
        ? 'no mirror is there that may lack what was lost'
        : `mirrors of ${event.peers.join(' and ')} may lack what was lost, and stand still until they are filled anew`;
    case 'called_off':
      return `${primary} stays: ${event.because}`;
    case 'commits':
      return `commits are ${event.mode} from now on, by policy`;
  }
}

function lossText({ loss }: Extract<KeeperEvent, { kind: 'deposed' }>): string {
  return loss === undefined ? '' : `; ${loss.by} accepts what is lost: ${loss.why}`;
}
