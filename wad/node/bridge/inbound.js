/** Messages on their way to wad: written to the spool before WhatsApp hears that we have them, told, and replayed. */

import { cleanMessage, decodeMessageNode, jidNormalizedUser, proto, unpadRandomMax16 } from '@whiskeysockets/baileys'

import { log } from '../lines.js'
import { pack, unpack } from './wire.js'

/** After so long (ms) a deciphered message that Baileys has not told of is told without it. */
const PATIENCE = 60_000

/**
 * A record of the spool is one of
 *
 *     {stanza: attrs, plain: bytes, me: {id, lid}}    deciphered, before its key was spent; a message may have several
 *     {message, type}                                 told by Baileys, and never ciphered for us (stubs, notices)
 */
export class Inbound {
	/**
	 * @param {import('./spool.js').Spool} spool
	 * @param {(args: object, entries: object[], flushed?: Promise<void>) => void} tell an event `messages`, which
	 *     carries `entries` of the spool, once `flushed`
	 * @param {(message: object) => string[]|null} [chosen] what a vote in a poll of ours says
	 */
	constructor(spool, tell, chosen = () => null) {
		this.spool = spool
		this.tell = tell
		/** A message as it is told. */
		this.told = (message) => pack({ ...message, chosen: chosen(message) })
		/** The stanza that a ciphertext came in. */
		this.stanzas = new WeakMap()
		/** Entries whose message Baileys has yet to tell of, by its id. */
		this.untold = new Map()
	}

	/** A `message` stanza arrived, and Baileys is about to hear of it. */
	seen(stanza) {
		// What was queued while we were away Baileys takes one by one, and what is said now beside that, so that the new
		// overtakes the old. Marked like the old it takes its place behind it. (Baileys then tells of it as `append`.)
		stanza.attrs.offline ??= 'no'
		if (!Array.isArray(stanza.content)) return
		for (const child of stanza.content) {
			if (child.content instanceof Uint8Array) this.stanzas.set(child.content, stanza.attrs)
		}
	}

	/** `ciphertext` became `plaintext`, and its key is about to be spent: keep the message first. */
	async deciphered(ciphertext, plaintext, me) {
		const stanza = this.stanzas.get(ciphertext)
		// Peer messages are our own phone's, for Baileys: keys and history. They are no one's message.
		if (!stanza || stanza.category === 'peer') return
		const entry = this.spool.keep({ stanza, plain: pack(plaintext), me: { id: me?.id, lid: me?.lid } })
		const same = this.untold.get(stanza.id)
		if (same) same.push(entry)
		else this.untold.set(stanza.id, [entry])
		await this.spool.flushed()
	}

	/** Baileys tells of messages. The receipts of those that were ciphered are out, or about to be. */
	upserted({ messages, type }) {
		const wanted = messages.filter((message) => message.category !== 'peer')
		if (wanted.length === 0) return
		const entries = []
		let fresh = false
		for (const message of wanted) {
			const known = this.#take(message.key)
			if (known.length === 0) {
				entries.push(this.spool.keep({ message: pack(message), type }))
				fresh = true
			} else entries.push(...known)
		}
		// Packed at once, because Baileys goes on changing its messages.
		this.tell({ type, messages: wanted.map(this.told) }, entries, fresh ? this.spool.flushed() : undefined)
	}

	/** Tell of all that the file held when it was opened. */
	replay() {
		this.#tellAll([...this.spool.pending].filter((entry) => entry.seq === null && entry.at === 0))
	}

	/** Tell of messages that were deciphered long before `now`, and that Baileys lost on its way. */
	sweep(now = Date.now()) {
		const late = [...this.untold.values()].flat().filter((entry) => now - entry.at > PATIENCE)
		for (const entry of late) this.untold.delete(entry.record.stanza.id)
		this.#tellAll(late)
	}

	#take(key) {
		const entries = this.untold.get(key.id)
		if (!entries) return []
		const chats = [key.remoteJid, key.remoteJidAlt].filter(Boolean).map(jidNormalizedUser)
		const mine = entries.filter(({ record: { stanza } }) =>
			[stanza.from, stanza.recipient].filter(Boolean).some((jid) => chats.includes(jidNormalizedUser(jid))),
		)
		const others = entries.filter((entry) => !mine.includes(entry))
		if (others.length) this.untold.set(key.id, others)
		else this.untold.delete(key.id)
		return mine
	}

	#tellAll(entries) {
		const groups = new Map()
		for (const entry of entries) {
			const { stanza } = entry.record
			const key = stanza ? `${stanza.from} ${stanza.participant} ${stanza.id}` : entry
			groups.set(key, [...(groups.get(key) ?? []), entry])
		}
		for (const group of groups.values()) {
			const { record } = group[0]
			try {
				const message = record.stanza ? rebuild(group.map((entry) => entry.record)) : record.message
				const told = record.stanza ? this.told(message) : message
				this.tell({ type: record.type ?? 'append', messages: [told] }, group)
			} catch (error) {
				log('error', 'a record of the spool that makes no message', { error: String(error?.message ?? error) })
				for (const entry of group) this.spool.drop(entry)
			}
		}
	}
}

/** The message that Baileys would have told of, from what was deciphered of it. */
function rebuild(records) {
	const { stanza, me } = records[0]
	const { fullMessage } = decodeMessageNode({ tag: 'message', attrs: stanza }, me.id, me.lid ?? '')
	fullMessage.message = {}
	for (const { plain } of records) {
		const message = proto.Message.decode(unpadRandomMax16(unpack(plain)))
		Object.assign(fullMessage.message, message.deviceSentMessage?.message ?? message)
	}
	cleanMessage(fullMessage, me.id, me.lid ?? '')
	return fullMessage
}
