import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

const BROWSER_GLOBALS = ['document', 'location', 'navigator', 'history', 'DOMParser', 'EventSource']

export default [
  ...neostandard({ ignores: resolveIgnoresFromGitignore(), ts: true }),
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
