import { startTestDomicile, STOREFRONT } from '/tmp/h/plan/router/world-for-tests.ts';
const d = await startTestDomicile({ policy: process.argv[2]! });
console.log('ROOT', d.root);
for (const r of d.catalogue.regions.values()) { console.log(r.id, r.edges[0]?.url, r.nodes.map(n=>n.name+':'+n.port).join(' '), r.airlocks.map(n=>n.name+':'+n.port).join(' ')); }
process.on('SIGTERM', async () => { await d.remove(); process.exit(0); });
setInterval(() => {}, 1000);
