// Moves the secret out of the fragment, which no log, proxy or Referer contains, and posts it. The server checks
// `next` and answers with the location to go to.
(function () {
  var form = /** @type {HTMLFormElement} */ (document.querySelector('form'))
  var input = /** @type {HTMLInputElement} */ (document.getElementById('secret'))
  var status = /** @type {HTMLElement} */ (document.querySelector('[role=status]'))
  var secret = location.hash.slice(1)
  var url = location.pathname + location.search

  form.addEventListener('submit', function (event) {
    event.preventDefault()
    send(input.value)
  })
  if (secret) {
    history.replaceState(null, '', url)
    send(decodeURIComponent(secret))
  }

  /** @param {string} secret */
  function send (secret) {
    fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: secret })
    }).then(function (answer) {
      if (answer.status === 204) location.replace(answer.headers.get('location') || '/')
      else status.textContent = 'This is not the secret of the maintenance that is under way.'
    }).catch(function () {
      status.textContent = 'The server did not answer.'
    })
  }
})()
