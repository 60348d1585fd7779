/** Sending: a message is sent when WhatsApp's server has acknowledged it, and not before. */

import { AsyncLocalStorage } from 'node:async_hooks'
import { isAbsolute } from 'node:path'

import { isLidUser, jidDecode, proto } from '@whiskeysockets/baileys'

import { CallError } from '../lines.js'
import { explain } from './errors.js'
import { unpack } from './wire.js'

/** How long (ms) the server may take to acknowledge a message that has left. */
const PATIENCE = 30_000
/** Seconds. WhatsApp counts weeks from 1970, not from the last token. */
const WEEK = 604_800

const MEDIA = ['image', 'video', 'audio', 'document', 'sticker']

/** The messages of one session that are on their way out. */
export class Sender {
	/**
	 * @param {object} caches the session's
	 * @param {(id: string, error: string|null) => void} late an acknowledgement that nobody waits for any more
	 */
	constructor(caches, late) {
		this.numbers = caches.numbers
		this.late = late
		this.waiting = new Map()
		this.attempts = new AsyncLocalStorage()
	}

	/**
	 * Send a message, and wait until the server has it. Order in a chat is the caller's: one at a time.
	 *
	 * @param {object} sock of Baileys, open
	 * @param {{id: string, jid: string, content: object, quoted?: object, check?: boolean}} message
	 * @returns {Promise<{timestamp: number, jid: string}>} `jid`: where it went, which can be another than was asked for
	 *     (WhatsApp knows some Brazilian and Argentine numbers under another spelling)
	 */
	send(sock, message) {
		const waiting = this.waiting.get(message.id)
		if (waiting) return waiting.result
		const attempt = { left: false }
		this.waiting.set(message.id, attempt)
		attempt.result = this.#send(sock, message, attempt).finally(() => this.waiting.delete(message.id))
		return attempt.result
	}

	/** The session's socket closed: nothing that still waits will be acknowledged over it. */
	closed() {
		for (const attempt of this.waiting.values()) {
			attempt.reject?.(new CallError('closed', 'the connection closed', { sent: attempt.left }))
		}
	}

	/** A message is being enciphered: from now on it may leave at any moment, and may arrive. */
	enciphering() {
		const attempt = this.attempts.getStore()
		if (attempt) attempt.left = true
	}

	/** The server's `ack` to a message. */
	acked({ id, error, t }) {
		const attempt = this.waiting.get(id)
		if (!attempt?.left) return this.late(id, error ?? null)
		if (error === undefined) return attempt.resolve(Number(t) || Math.floor(Date.now() / 1000))
		attempt.reject(new CallError('refused', 'WhatsApp refused the message', { status: Number(error), sent: true }))
	}

	/** The JID that WhatsApp knows `jid` by. Asks once in a while; groups and LIDs are what they are. */
	async recipient(sock, jid) {
		if (!jid.endsWith('@s.whatsapp.net')) return jid
		const known = this.numbers.get(jid)
		if (known) return known
		const found = await sock.onWhatsApp(jid)
		// A query that runs out of time answers undefined in Baileys, instead of throwing.
		if (!found) throw new CallError('timeout', 'WhatsApp did not say whether it knows the number', { sent: false })
		const match = found.find((each) => each.exists)
		if (!match) throw new CallError('not_registered', 'the number is not on WhatsApp', { sent: false })
		this.numbers.set(jid, match.jid)
		return match.jid
	}

	async #send(sock, { id, jid, content, quoted, check }, attempt) {
		let limit
		const acknowledged = new Promise((resolve, reject) => Object.assign(attempt, { resolve, reject }))
		acknowledged.catch(() => {}) // it is raced below, and may be told after the race
		try {
			const made = outgoing(content)
			const options = { messageId: id }
			if (quoted) options.quoted = quotable(quoted)
			const to = check ? await Promise.race([this.recipient(sock, jid), acknowledged.then(() => jid)]) : jid
			// The acknowledgement can overtake sendMessage, which first commits what it enciphered with.
			await Promise.race([this.attempts.run(attempt, () => sock.sendMessage(to, made, options)), acknowledged])
			limit = setTimeout(
				() => attempt.reject(new CallError('timeout', 'WhatsApp did not acknowledge the message', { sent: true })),
				PATIENCE,
			)
			return { timestamp: await acknowledged, jid: to }
		} catch (error) {
			throw explain(error, attempt.left)
		} finally {
			clearTimeout(limit)
		}
	}
}

/**
 * `content` as Baileys takes it. Media comes by absolute path, and by nothing else: Baileys would fetch any URL.
 *
 * @param {any} content AnyMessageContent in BufferJSON's form
 */
export function outgoing(content) {
	if (content === null || typeof content !== 'object' || Array.isArray(content)) {
		throw new CallError('bad_content', 'content is no object')
	}
	const made = unpack(content)
	for (const kind of MEDIA) {
		if (!(kind in made)) continue
		const url = made[kind]?.url
		if (typeof url !== 'string' || !isAbsolute(url)) {
			throw new CallError('bad_content', `${kind} is no {url: "/path/of/a/file"}`)
		}
		made[kind] = { url }
	}
	// Without this Baileys looks for a package that makes previews, and that would fetch the page.
	if ('text' in made && made.linkPreview === undefined) made.linkPreview = null
	return made
}

/**
 * Note that the person `jid` was given a privacy token.
 *
 * Baileys gives one after a message, once a week. But it notes that inside of the message's transaction, which is over by
 * then, so the note is lost: each message would bring one query more, as no client of WhatsApp's own does.
 */
export async function noteToken(sock, keys, jid) {
	const holder = (!isLidUser(jid) && (await sock.signalRepository.lidMapping.getLIDForPN(jid))) || jid
	const { [holder]: entry } = await keys.get('tctoken', [holder])
	const senderTimestamp = Math.floor(Date.now() / 1000)
	const week = (seconds) => Math.floor(seconds / WEEK)
	if (entry?.senderTimestamp !== undefined && week(senderTimestamp) <= week(entry.senderTimestamp)) return
	await keys.set({ tctoken: { [holder]: { token: Buffer.alloc(0), ...entry, senderTimestamp } } })
}

/** A received message as Baileys quotes it. */
export const quotable = ({ key, message }) => ({ key, message: proto.Message.fromObject(unpack(message)) })

/**
 * Which of `phones` are on WhatsApp, and under which ids.
 *
 * @param {object} sock
 * @param {string[]} phones digits
 * @returns {Promise<{phone: string, jid: string|null, lid: string|null, exists: boolean}[]>} one for each, in order
 */
export async function onWhatsApp(sock, phones) {
	const ask = async (asked) => {
		const found = await sock.onWhatsApp(...asked.map((phone) => `${phone}@s.whatsapp.net`))
		if (!found) throw new CallError('timeout', 'WhatsApp did not answer')
		return found.filter((each) => each.exists)
	}
	const found = phones.length ? await ask(phones) : []
	const byUser = new Map(found.map((each) => [jidDecode(each.jid)?.user, each.jid]))
	const answers = []
	for (const phone of phones) {
		let jid = byUser.get(phone) ?? null
		// An answer under another spelling does not say which question it answers; alone it does.
		const strangers = found.some((each) => !phones.includes(jidDecode(each.jid)?.user))
		if (!jid && strangers) jid = (await ask([phone]))[0]?.jid ?? null
		const lid = jid && (await sock.signalRepository.lidMapping.getLIDForPN(jid))
		answers.push({ phone, jid, lid: lid || null, exists: jid !== null })
	}
	return answers
}
