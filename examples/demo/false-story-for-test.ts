/** A story with one true claim and one that no policy of the storefront makes true. */
import type { Story } from './step.ts';

const ada = { id: 'ada', displayName: 'Ada', email: 'ada@example.org', country: 'DE' };

export const story: Story = [
  {
    claim: 'A user from Germany has her home in eu',
    asks: [
      {
        at: 'asia',
        method: 'POST',
        path: '/users',
        body: ada,
        expect: { status: 201, headers: { 'domicile-home': 'eu' } },
      },
    ],
  },
  {
    claim: 'A user from Germany has her home in us',
    asks: [
      {
        at: 'us',
        method: 'POST',
        path: '/users',
        body: { ...ada, id: 'eda' },
        expect: { status: 201, headers: { 'domicile-home': 'us' } },
      },
    ],
  },
];
