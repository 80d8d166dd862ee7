/** The i-th of many ignored routes: alternately a single path and a subtree. */
export const patternOf = i => i % 2 === 0 ? `/area${i}/page${i}` : `/area${i}/files/*`

/** The i-th of many ignored addresses: alternately IPv4 and IPv6, none of them in 10.0.0.0/8 or 192.0.2.0/24. */
export const addressOf = i => i % 2 === 0
  ? `172.${16 + (i >> 16)}.${i >> 8 & 255}.${i & 255}`
  : `2001:db8:${(i >> 12).toString(16)}::${(i & 0xfff).toString(16)}`
