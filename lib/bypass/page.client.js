// Takes the secret out of the fragment and posts it. The answer says where to go.
(function () {
  var secret = location.hash.slice(1)
  var form = document.querySelector('form')
  var field = document.querySelector('input')
  var status = document.querySelector('[role=status]')
  form.addEventListener('submit', function (event) {
    event.preventDefault()
    send(field.value)
  })
  // no log, proxy or Referer sees the fragment, and no history keeps it
  if (secret) {
    history.replaceState(null, '', location.pathname + location.search)
    send(decodeURIComponent(secret))
  }

  /** @param {string} secret */
  function send (secret) {
    fetch(location.pathname + location.search, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: secret })
    }).then(function (answer) {
      // the server has checked `next`
      if (answer.status === 204) location.replace(answer.headers.get('location'))
      else status.textContent = 'This secret is not valid (any more).'
    }).catch(function () { status.textContent = 'The server did not answer.' })
  }
})()
