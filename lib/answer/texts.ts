import type { Mode } from '../../types/index.ts'

/** The mode that answers name: a request that was held in vain is blocked like any other. */
export type ShownMode = 'full' | 'read-only'

export const shownMode = (mode: Mode): ShownMode => mode === 'read-only' ? 'read-only' : 'full'

export const LANGUAGES = ['en', 'de', 'fr', 'es', 'it', 'pt', 'zh', 'ja', 'ar'] as const

export type Language = typeof LANGUAGES[number]

/** The words of the bundled page; the operator's message is shown as it was written. */
export interface Texts {
  readonly title: { readonly [mode in ShownMode]: string }
  /** Where the operator wrote nothing. */
  readonly message: { readonly [mode in ShownMode]: string }
  /** Before the end of the window. */
  readonly expected: string
  /** Where no end is known. */
  readonly later: string
  /** The page asks by itself. */
  readonly waiting: string
  readonly back: string
  readonly home: string
  readonly noScript: string
  readonly retry: string
}

export const TEXTS: { readonly [language in Language]: Texts } = {
  en: {
    title: { full: 'Down for maintenance', 'read-only': 'Read-only for the moment' },
    message: {
      full: 'The site is being maintained. It will be back shortly.',
      'read-only': 'The site can be read, but not changed for the moment: it is being maintained.'
    },
    expected: 'Expected back:',
    later: 'Please try again in a few minutes.',
    waiting: 'This page looks again by itself.',
    back: 'The site is back.',
    home: 'Go to the home page',
    noScript: 'Without scripts, this page cannot look by itself.',
    retry: 'Try again'
  },
  de: {
    title: { full: 'Wartungsarbeiten', 'read-only': 'Zurzeit nur lesbar' },
    message: {
      full: 'Diese Website wird gerade gewartet. Sie ist in Kürze wieder da.',
      'read-only': 'Diese Website kann zurzeit gelesen, aber nicht geändert werden: Sie wird gewartet.'
    },
    expected: 'Voraussichtlich wieder da:',
    later: 'Bitte versuchen Sie es in einigen Minuten noch einmal.',
    waiting: 'Diese Seite sieht von selbst wieder nach.',
    back: 'Die Website ist wieder da.',
    home: 'Zur Startseite',
    noScript: 'Ohne Skripte kann diese Seite nicht von selbst nachsehen.',
    retry: 'Noch einmal versuchen'
  },
  fr: {
    title: { full: 'Site en maintenance', 'read-only': 'En lecture seule pour le moment' },
    message: {
      full: 'Le site est en cours de maintenance. Il sera bientôt de retour.',
      'read-only': 'Le site peut être consulté, mais pas modifié pour le moment : il est en cours de maintenance.'
    },
    expected: 'Retour prévu :',
    later: 'Veuillez réessayer dans quelques minutes.',
    waiting: 'Cette page vérifie d’elle-même.',
    back: 'Le site est de retour.',
    home: 'Aller à l’accueil',
    noScript: 'Sans scripts, cette page ne peut pas vérifier d’elle-même.',
    retry: 'Réessayer'
  },
  es: {
    title: { full: 'En mantenimiento', 'read-only': 'Solo lectura por el momento' },
    message: {
      full: 'El sitio está en mantenimiento. Volverá en breve.',
      'read-only': 'El sitio se puede leer, pero no modificar por el momento: está en mantenimiento.'
    },
    expected: 'Regreso previsto:',
    later: 'Vuelva a intentarlo dentro de unos minutos.',
    waiting: 'Esta página lo comprueba por sí sola.',
    back: 'El sitio está de vuelta.',
    home: 'Ir a la página de inicio',
    noScript: 'Sin scripts, esta página no puede comprobarlo por sí sola.',
    retry: 'Intentar de nuevo'
  },
  it: {
    title: { full: 'Sito in manutenzione', 'read-only': 'In sola lettura per il momento' },
    message: {
      full: 'Il sito è in manutenzione. Tornerà a breve.',
      'read-only': 'Il sito si può leggere, ma per il momento non modificare: è in manutenzione.'
    },
    expected: 'Ritorno previsto:',
    later: 'Riprovare tra qualche minuto.',
    waiting: 'Questa pagina controlla da sola.',
    back: 'Il sito è tornato.',
    home: 'Vai alla pagina iniziale',
    noScript: 'Senza script questa pagina non può controllare da sola.',
    retry: 'Riprova'
  },
  pt: {
    title: { full: 'Em manutenção', 'read-only': 'Somente leitura no momento' },
    message: {
      full: 'O site está em manutenção. Voltará em breve.',
      'read-only': 'O site pode ser lido, mas não alterado no momento: está em manutenção.'
    },
    expected: 'Retorno previsto:',
    later: 'Tente novamente dentro de alguns minutos.',
    waiting: 'Esta página verifica por si própria.',
    back: 'O site está de volta.',
    home: 'Ir para a página inicial',
    noScript: 'Sem scripts, esta página não consegue verificar por si própria.',
    retry: 'Tentar novamente'
  },
  zh: {
    title: { full: '网站维护中', 'read-only': '暂时只读' },
    message: {
      full: '网站正在维护，很快就会恢复。',
      'read-only': '网站正在维护：目前可以浏览，但不能修改。'
    },
    expected: '预计恢复时间：',
    later: '请过几分钟再试。',
    waiting: '本页面会自动检查。',
    back: '网站已恢复。',
    home: '前往首页',
    noScript: '未启用脚本，本页面无法自动检查。',
    retry: '重试'
  },
  ja: {
    title: { full: 'メンテナンス中', 'read-only': '現在は閲覧のみ' },
    message: {
      full: 'ただいまメンテナンス中です。まもなく再開します。',
      'read-only': 'ただいまメンテナンス中のため、閲覧はできますが変更はできません。'
    },
    expected: '再開予定：',
    later: '数分後にもう一度お試しください。',
    waiting: 'このページは自動的に再確認します。',
    back: 'サイトが再開しました。',
    home: 'トップページへ',
    noScript: 'スクリプトが無効のため、自動的に再確認できません。',
    retry: '再試行'
  },
  ar: {
    title: { full: 'الموقع قيد الصيانة', 'read-only': 'للقراءة فقط في الوقت الحالي' },
    message: {
      full: 'الموقع قيد الصيانة. سيعود قريبًا.',
      'read-only': 'يمكن قراءة الموقع ولكن لا يمكن تعديله في الوقت الحالي: إنه قيد الصيانة.'
    },
    expected: 'العودة المتوقعة:',
    later: 'يُرجى المحاولة مرة أخرى بعد بضع دقائق.',
    waiting: 'تتحقق هذه الصفحة تلقائيًا.',
    back: 'عاد الموقع.',
    home: 'الانتقال إلى الصفحة الرئيسية',
    noScript: 'بدون البرامج النصية لا يمكن لهذه الصفحة التحقق تلقائيًا.',
    retry: 'إعادة المحاولة'
  }
}
