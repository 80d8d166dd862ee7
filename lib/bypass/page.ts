import { policyFor } from '../answer/page.ts'
import { STYLE } from '../answer/template.ts'

/**
 * Takes the secret out of the fragment, where no log, proxy or Referer sees it, and posts it. The answer says where
 * to go: the server has looked at `next`.
 */
const SCRIPT = `
(function () {
  var secret = location.hash.slice(1)
  var form = document.querySelector('form')
  var status = document.querySelector('[role=status]')
  form.addEventListener('submit', function (event) {
    event.preventDefault()
    send(form.elements.secret.value)
  })
  if (secret) {
    history.replaceState(null, '', location.pathname + location.search)
    send(decodeURIComponent(secret))
  }
  function send (secret) {
    fetch(location.pathname + location.search, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ secret: secret }) }).then(function (answer) {
      if (answer.status === 204) location.replace(answer.headers.get('location'))
      else status.textContent = 'This is not the secret of the maintenance that is under way.'
    }).catch(function () { status.textContent = 'The server did not answer.' })
  }
})()
`

export const BYPASS_PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Enter during maintenance</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Enter during maintenance</h1>
<form method="post">
<p><label for="secret">Secret</label><br><input id="secret" name="secret" type="password" autocomplete="off" required></p>
<p><button>Enter</button></p>
</form>
<p role="status"></p>
</main>
<script>${SCRIPT}</script>
</body>
</html>
`

/** As the maintenance page's, but for the form that works without script. */
export const BYPASS_POLICY = policyFor(STYLE, SCRIPT, "'self'")
