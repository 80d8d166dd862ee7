// Shows the end in the visitor's time zone, counts down, and checks whether the site is back, at random intervals so
// that not all visitors come at once. It returns by a plain navigation, which never posts a form again. In read-only
// mode it does not check: only a write was blocked, and the site can be read. Old browsers show less, and still check.
(function () {
  var main = document.querySelector('main')
  var time = document.querySelector('time')
  var left = document.getElementById('left')
  var status = document.getElementById('status')
  var asking = false
  /** @type {string} */
  var address
  if (main.dataset.mode === 'full' && window.fetch) {
    status.hidden = false
    document.getElementById('plain').hidden = true
    again()
    document.addEventListener('visibilitychange', function () { if (!document.hidden) ask() })
  } else if (main.dataset.mode === 'full') {
    // JavaScript is on, but too old to check
    document.getElementById('no-script').hidden = true
  }
  if (time) {
    try { showEnd(Date.parse(time.dateTime)) } catch (error) {
      // what the browser cannot format stays as it was sent
    }
  }

  /** @param {number} end */
  function showEnd (end) {
    var lang = language()
    var today = new Date()
    var day = new Date(end)
    /** @type {Intl.DateTimeFormatOptions} */
    var format = { hour: 'numeric', minute: '2-digit', timeZoneName: 'short' }
    if (day.toDateString() !== today.toDateString()) {
      format.weekday = format.month = 'long'
      format.day = 'numeric'
    }
    if (day.getFullYear() !== today.getFullYear()) format.year = 'numeric'
    time.textContent = new Intl.DateTimeFormat(lang, format).format(end)
    if (Intl.RelativeTimeFormat) count(end, new Intl.RelativeTimeFormat(lang, { numeric: 'auto' }))
  }

  /** The visitor's own variety of the page's language. */
  function language () {
    var spoken = document.documentElement.lang
    return (navigator.languages || []).find(function (tag) { return tag.split('-')[0] === spoken }) || spoken
  }

  /**
   * @param {number} end
   * @param {Intl.RelativeTimeFormat} words
   */
  function count (end, words) {
    var seconds = Math.round((end - Date.now()) / 1000)
    var text = ''
    if (seconds > 172800) text = words.format(Math.round(seconds / 86400), 'day')
    else if (seconds > 7200) text = words.format(Math.round(seconds / 3600), 'hour')
    else if (seconds >= 60) text = words.format(Math.ceil(seconds / 60), 'minute')
    else if (seconds > 0) text = words.format(Math.ceil(seconds / 10) * 10, 'second')
    if (text !== left.textContent) left.textContent = text
    if (seconds > 0) setTimeout(function () { count(end, words) }, seconds < 60 ? 5000 : 15000)
  }

  function ask () {
    if (asking) return
    asking = true
    isClosed().then(function (closed) { return closed ? undefined : look() }).catch(function () {}).then(again)
  }

  function again () {
    setTimeout(function () { asking = false; ask() }, 20000 + Math.random() * 20000)
  }

  /** What the public status says costs the server less than a page; if it says nothing, the page is asked. */
  function isClosed () {
    if (main.dataset.status === '') return Promise.resolve(false)
    return fetch(main.dataset.status, { cache: 'no-store' })
      .then(function (answer) { return answer.ok && answer.json() })
      .then(function (state) { return state.active === true }, function () { return false })
  }

  function look () {
    return load('HEAD', here()).then(function (answer) {
      var unsure = [404, 405, 501].indexOf(answer.status) !== -1 && !answer.headers.has('maintenance-mode')
      return unsure ? load('GET', here()) : answer
    }).then(function (answer) {
      if (isBack(answer)) return isPage(answer) ? leave() : offerHome()
      // the site is back if its home page is, and this page was only a form's target
      if (answer.status !== 404 && answer.status !== 405) return
      return load('HEAD', '/').then(function (home) { if (isBack(home)) offerHome() })
    })
  }

  /**
   * @param {string} method
   * @param {string} url
   */
  function load (method, url) {
    return fetch(url, {
      method: method,
      cache: 'no-store',
      redirect: 'manual',
      credentials: 'same-origin',
      headers: { accept: 'text/html' }
    })
  }

  function here () {
    return (address || location.href).split('#')[0]
  }

  /**
   * Visitors who are let through get the header as well. A redirect cannot be looked into, and need not be.
   * @param {Response} answer
   */
  function isBack (answer) {
    if (answer.type === 'opaqueredirect') return true
    return answer.ok && (!answer.headers.has('maintenance-mode') || answer.headers.has('maintenance-pass'))
  }

  /**
   * A download would leave the visitor here.
   * @param {Response} answer
   */
  function isPage (answer) {
    var disposition = answer.headers.get('content-disposition') || ''
    return answer.status !== 204 && answer.status !== 205 && !/^attachment/i.test(disposition)
  }

  function offerHome () {
    status.textContent = main.dataset.back
    document.getElementById('home').hidden = false
  }

  /**
   * To the same URL with a fragment, a browser only scrolls: so the page first gets another URL. `location.hash` does
   * not show an empty fragment, which links such as `#` leave behind.
   */
  function leave () {
    address = address || location.href
    try {
      if (address.indexOf('#') !== -1) history.replaceState(null, '', here() + (location.search ? '&' : '?'))
      location.replace(address)
    } catch (error) {
      location.replace(here())
    }
  }
})()
