// Which way imports may run (`npm run lint`): store → record → gate → decision → answer. Each layer may import from
// itself and from the layers above it in this list, type imports included.
const LAYERS = [
  ['types/'],
  ['lib/util/', 'lib/errors.ts'],
  ['lib/match/'],
  ['lib/stores/'],
  ['lib/state/'],
  ['lib/route-config.ts', 'lib/route-rule.ts'],
  ['lib/answer/', 'lib/drain/'],
  ['lib/bypass/'],
  ['lib/decision.ts', 'lib/window-rules.ts', 'lib/counts.ts', 'lib/hold-queue.ts', 'lib/upgrade-listeners.ts', 'lib/cors-check.ts'],
  ['lib/gate.ts', 'lib/request-decision.ts'],
  ['lib/options.ts', 'lib/exemptions.ts', 'lib/servers/(?!heartbeat|wait)'],
  ['lib/site-gate.ts', 'lib/site.ts', 'lib/sites.ts', 'lib/status.ts', 'lib/change-log.ts', 'lib/public-status.ts', 'lib/upcoming-header.ts'],
  ['lib/servers/(heartbeat|wait)'],
  ['lib/site-api.ts', 'lib/refuse.ts', 'lib/request-maintenance.ts', 'lib/user-callbacks.ts', 'lib/hook.ts', 'lib/maintenance.ts'],
  ['index.ts', 'lib/admin/', 'lib/cli/', 'lib/nest.ts', 'lib/entry']
]

const anyOf = paths => `^(${paths.map(path => path.replaceAll('.ts', '\\.ts')).join('|')})`

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    ...LAYERS.slice(0, -1).map((layer, i) => ({
      name: `${layer[0].replace(/^lib\/|\/$/g, '')}-imports-backwards`,
      severity: 'error',
      from: { path: anyOf(layer) },
      to: { path: anyOf(LAYERS.slice(i + 1).flat()) }
    })),
    {
      name: 'in-no-layer',
      severity: 'error',
      comment: 'Add the new file or folder to LAYERS.',
      from: { path: '^(index\\.ts|lib/|types/)', pathNot: anyOf(LAYERS.flat()) },
      to: {}
    }
  ],
  options: { tsPreCompilationDeps: true, exclude: { path: '\\.tst\\.ts$' }, doNotFollow: { path: 'node_modules' }, tsConfig: { fileName: 'tsconfig.json' } }
}
