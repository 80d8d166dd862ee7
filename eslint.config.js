import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

const BROWSER_GLOBALS = ['document', 'location', 'navigator', 'history', 'DOMParser', 'EventSource']

export default [
  ...neostandard({ ignores: resolveIgnoresFromGitignore(), ts: true }),
  {
    // texts, SQL and patterns may be longer: cut in two, nobody finds them by a search
    files: ['index.ts', 'lib/**', 'types/**', 'test/**', 'benchmarks/**', '.ci/**'],
    rules: {
      '@stylistic/max-len': [
        'error',
        { code: 120, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true, ignoreUrls: true }
      ]
    }
  },
  {
    files: ['lib/**/*.client.js'],
    languageOptions: { globals: Object.fromEntries(BROWSER_GLOBALS.map(name => [name, 'readonly'])) }
  },
  {
    // visitors have old browsers
    files: ['lib/answer/**/*.client.js', 'lib/bypass/*.client.js'],
    languageOptions: { ecmaVersion: 5, sourceType: 'script' },
    rules: { 'no-var': 'off', 'object-shorthand': 'off' }
  }
]
