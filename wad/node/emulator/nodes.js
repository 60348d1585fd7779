/** The XML-like nodes that travel inside frames: making them, looking into them, and the ids (JIDs) in them. */

import { jidDecode } from '@whiskeysockets/baileys'

export const SERVER = '@s.whatsapp.net'

/** @returns {{tag: string, attrs: Record<string, string>, content?: any}} */
export const node = (tag, attrs = {}, content = undefined) => ({ tag, attrs, content })

export const children = (parent, tag = undefined) =>
	Array.isArray(parent?.content) ? parent.content.filter((each) => tag === undefined || each.tag === tag) : []

export const child = (parent, tag) => children(parent, tag)[0]

/** The bytes inside a node; an empty buffer when there are none. */
export function bytes(parent) {
	const content = parent?.content
	return content instanceof Uint8Array || typeof content === 'string' ? Buffer.from(content) : Buffer.alloc(0)
}

export const text = (parent) => bytes(parent).toString('utf8')

/** `value` as a big-endian number of `size` bytes, the form of all key ids. */
export function number(value, size) {
	const buffer = Buffer.alloc(size)
	buffer.writeUIntBE(value, 0, size)
	return buffer
}

/** Seconds since 1970, as attributes have them. */
export const seconds = (at = Date.now()) => String(Math.floor(at / 1000))

/** @returns {{user: string, server: string, device: number}|undefined} */
export function jid(value) {
	const parts = jidDecode(value)
	return parts?.user ? { user: parts.user, server: parts.server, device: parts.device ?? 0 } : undefined
}

/** The digits of a number, however it was written. */
export const digits = (phone) => String(phone).replace(/[^0-9]/g, '')
