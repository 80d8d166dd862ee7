// Shows the end in the visitor's time zone, counts down, and checks whether the site is back, at random intervals so
// that not all visitors come at once. It returns by a plain navigation, which never posts a form again. In read-only
// mode it does not check: only a write was refused, and the site can be read.
(function () {
  var main = document.querySelector('main')
  var spoken = document.documentElement.lang
  var lang = navigator.languages.find(function (tag) { return tag.split('-')[0] === spoken }) || spoken
  var time = document.querySelector('time')
  var left = document.getElementById('left')
  var status = document.getElementById('status')
  var end = time && Date.parse(time.dateTime)
  var url = location.href.split('#')[0]
  if (time) {
    time.textContent = new Intl.DateTimeFormat(lang, {
      year: 'numeric', month: 'long', day: 'numeric', hour: 'numeric', minute: '2-digit', timeZoneName: 'short'
    }).format(end)
    count()
  }
  if (main.dataset.mode === 'full') {
    status.hidden = false
    document.getElementById('plain').hidden = true
    setTimeout(ask, 20000 + Math.random() * 20000)
    document.addEventListener('visibilitychange', function () { if (!document.hidden) ask() })
  }

  function count () {
    var seconds = Math.round((end - Date.now()) / 1000)
    var words = new Intl.RelativeTimeFormat(lang, { numeric: 'auto' })
    var text = ''
    if (seconds > 5400) text = words.format(Math.round(seconds / 3600), 'hour')
    else if (seconds >= 60) text = words.format(Math.ceil(seconds / 60), 'minute')
    else if (seconds > 0) text = words.format(Math.ceil(seconds / 10) * 10, 'second')
    if (text !== left.textContent) left.textContent = text
    if (seconds > 0) setTimeout(count, seconds < 60 ? 5000 : 15000)
  }

  var asking = false
  function ask () {
    if (asking) return
    asking = true
    fetch(url, {
      method: 'HEAD', cache: 'no-store', headers: { accept: 'text/html' }
    }).then(function (answer) {
      if (isClosed(answer.headers) || answer.status >= 500) return again()
      if (answer.ok) return location.replace(url)
      status.textContent = main.dataset.back
      document.getElementById('home').hidden = false
    }).catch(again)
  }

  /**
   * Visitors who are let through get the header as well.
   * @param {Headers} headers
   */
  function isClosed (headers) {
    return headers.has('maintenance-mode') && !headers.has('maintenance-pass')
  }

  function again () {
    setTimeout(function () { asking = false; ask() }, 20000 + Math.random() * 20000)
  }
})()
