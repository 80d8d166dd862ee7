// Shows the end in the visitor's time zone, counts down, and checks whether the site is back: with jitter, so that
// visitors do not all return at once, and by a plain navigation, which never posts a form again. In read-only mode
// it does not check, because the site can be read and only a write was blocked.
(function () {
  var main = /** @type {HTMLElement} */ (document.querySelector('main'))
  var left = /** @type {HTMLElement} */ (document.getElementById('left'))
  var status = /** @type {HTMLElement} */ (document.getElementById('status'))
  var time = document.querySelector('time')
  var end = time ? Date.parse(time.dateTime) : 0
  var url = location.href.split('#')[0]
  var asking = false
  var pageLanguage = document.documentElement.lang
  // a visitor's de-AT formats times better than the page's de
  var language = navigator.languages.find(function (tag) {
    return tag.split('-')[0] === pageLanguage
  }) || pageLanguage

  if (time) {
    time.textContent = new Intl.DateTimeFormat(language, {
      year: 'numeric', month: 'long', day: 'numeric', hour: 'numeric', minute: '2-digit', timeZoneName: 'short'
    }).format(end)
    countDown()
  }
  if (main.dataset.mode === 'full') {
    status.hidden = false
    show('plain', false)
    setTimeout(ask, delay())
    document.addEventListener('visibilitychange', function () {
      if (!document.hidden) ask()
    })
  }

  function countDown () {
    var seconds = Math.round((end - Date.now()) / 1000)
    var words = new Intl.RelativeTimeFormat(language, { numeric: 'auto' })
    var text = ''
    if (seconds > 5400) text = words.format(Math.round(seconds / 3600), 'hour')
    else if (seconds >= 60) text = words.format(Math.ceil(seconds / 60), 'minute')
    else if (seconds > 0) text = words.format(Math.ceil(seconds / 10) * 10, 'second')
    // a screen reader announces every change
    if (text !== left.textContent) left.textContent = text
    if (seconds > 0) setTimeout(countDown, seconds < 60 ? 5000 : 15000)
  }

  function ask () {
    if (asking) return
    asking = true
    fetch(url, { method: 'HEAD', cache: 'no-store', headers: { accept: 'text/html' } }).then(function (answer) {
      if (isClosed(answer.headers) || answer.status >= 500) askLater()
      else if (answer.ok) location.replace(url)
      else showBack()
    }).catch(askLater)
  }

  /** @param {Headers} headers */
  function isClosed (headers) {
    // an exempt visitor gets this header with the site itself
    return headers.has('maintenance-mode') && !headers.has('maintenance-pass')
  }

  function askLater () {
    setTimeout(function () {
      asking = false
      ask()
    }, delay())
  }

  function delay () {
    return 20000 + Math.random() * 20000
  }

  // the site answers again, but this page has gone
  function showBack () {
    status.textContent = main.dataset.back || ''
    show('home', true)
  }

  /**
   * @param {string} id
   * @param {boolean} visible
   */
  function show (id, visible) {
    var element = /** @type {HTMLElement} */ (document.getElementById(id))
    element.hidden = !visible
  }
})()
