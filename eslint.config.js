import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

export default [
  ...neostandard({ ignores: resolveIgnoresFromGitignore(), ts: true }),
  {
    // they run in the browsers of visitors as they are, and some of these are old
    files: ['lib/**/*.client.js'],
    languageOptions: {
      ecmaVersion: 5,
      sourceType: 'script',
      globals: { fetch: 'readonly', history: 'readonly', Intl: 'readonly', location: 'readonly' }
    },
    rules: { 'no-var': 'off', 'object-shorthand': 'off' }
  }
]
