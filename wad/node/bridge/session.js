/** One session of WhatsApp Web: its socket of the moment, and what outlives the socket. */

import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import {
	assertNodeErrorFree,
	Browsers,
	DisconnectReason,
	generateWAMessage,
	isJidGroup,
	isJidNewsletter,
	isJidStatusBroadcast,
	makeWASocket,
	proto,
} from '@whiskeysockets/baileys'

import { CallError, log } from '../lines.js'
import { makeCaches } from './caches.js'
import { explain } from './errors.js'
import { Inbound } from './inbound.js'
import { Creds, fenced, Keys } from './keys.js'
import { download } from './media.js'
import { chosen, pollSecret } from './polls.js'
import { makeLogger } from './quiet.js'
import { noteToken, onWhatsApp, outgoing, quotable, Sender } from './send.js'
import { signal } from './signal.js'
import { checkName, Spool, spoolKey } from './spool.js'
import { trustRoot } from './trust.js'
import { pack } from './wire.js'

/** What Baileys gives the first QR code, and the later ones (its `qrTimeout`; WhatsApp's own times), in ms. */
const FIRST_QR = 60_000
const NEXT_QR = 20_000
/** How long (ms) a closing handshake may take; `ws` itself waits 30 s for a peer that is gone. */
const GOODBYE = 2_000
/** Frames are told of as one `alive` in so many ms. */
const ALIVE = 30_000
/** How long (ms) a pairing code waits for the server's first word. */
const FIRST_WORD = 20_000
const SWEEP = 30_000

/**
 * `{session, link}` of whatever runs: in a socket's events and timers, and in what is asked of a session. What falls there
 * and is caught by nobody is that session's trouble, and not that of the others in this process.
 */
export const owner = new AsyncLocalStorage()

/** For calling a function outside of whatever asynchronous context its caller is in. */
const outside = new AsyncResource('wad-outside')

export class Session {
	/**
	 * @param {string} id
	 * @param {object} shard what the sessions of this process share
	 * @param {{call: (name: string, args: object) => Promise<any>}} shard.peer
	 * @param {(name: string, args: object) => number} shard.tell an event, whose number comes back
	 * @param {import('./pressure.js').Pressure} shard.pressure
	 */
	constructor(id, { peer, tell, pressure }) {
		this.id = id
		this.peer = peer
		this.emit = tell
		this.pressure = pressure
		this.logger = makeLogger(id)
		this.caches = makeCaches()
		this.sender = new Sender(this.caches, (message, error) => this.#tell('ack', { id: message, error }))
		this.spool = null
		this.inbound = null
		/** The socket of the moment and its state. */
		this.link = null
		this.removed = false
		/** Counts openings: what an earlier one still does is nobody's business. */
		this.turn = 0
		this.told = Promise.resolve()
	}

	/** Connect, with `creds` (text of the store) or, with null, by pairing. Answers at once; events tell the rest. */
	open({ creds, settings }) {
		checkName(this.id)
		const given = new Creds(this.peer, this.id, creds) // throws where they cannot be read
		trustRoot(settings.rootKey ?? null)
		const turn = ++this.turn
		this.settings = settings
		this.#drop()
		this.beginning = this.#begin(turn, given).catch((error) => {
			if (turn === this.turn) this.#closed({ status: null, reason: 'not_started', data: { detail: String(error?.message) } })
		})
	}

	/** End, and tell nothing more. What the spool holds stays there for the next `open`. */
	async close() {
		this.removed = true
		this.turn += 1
		clearInterval(this.sweeper)
		this.#drop()
		try {
			await this.creds?.save()
		} finally {
			this.spool?.close() // or its descriptor would stay open, and what it holds in memory
		}
	}

	/** Unlink this device from the account, and end. */
	async logout() {
		const { sock } = this.#opened()
		this.removed = true
		await sock.logout()
		await this.close()
	}

	/** A new pairing code for `phone` (digits), to be typed into the phone. */
	async pairingCode({ phone }) {
		await this.beginning
		const link = this.#live()
		if (this.creds.paired) throw new CallError('already_paired', 'the session is paired')
		const limit = new AbortController()
		const late = sleep(FIRST_WORD, null, { signal: limit.signal }).then(() => {
			throw new CallError('timeout', 'WhatsApp offered no pairing')
		})
		late.catch(() => {})
		try {
			// Before its first QR code the server does not know us yet.
			await Promise.race([whileOpen(link, () => link.offered), late])
			const code = await Promise.race([whileOpen(link, () => codeFor(link.sock, phone, limit.signal)), late])
			return { code }
		} catch (error) {
			throw explain(error, false)
		} finally {
			limit.abort()
		}
	}

	async send(message) {
		const { sock } = this.#opened()
		const sent = await this.sender.send(sock, { ...message, content: this.#sealed(message.content, message.id) })
		if (!isJidGroup(sent.jid)) {
			noteToken(sock, this.keys, sent.jid).catch((error) => log('warning', 'a token is not noted', { session: this.id, error: error.message }))
		}
		return sent
	}

	read({ keys }) {
		return this.#ask((sock) => sock.readMessages(keys))
	}

	presence({ jid, kind }) {
		return this.#ask((sock) => sock.sendPresenceUpdate(kind, jid))
	}

	async groups() {
		const groups = Object.values(await this.#ask((sock) => sock.groupFetchAllParticipating()))
		for (const group of groups) this.caches.groups.set(group.id, group)
		return pack(groups)
	}

	async group({ jid }) {
		return pack(await this.#ask((sock) => this.#group(sock, jid)))
	}

	onWhatsApp({ phones }) {
		return this.#ask((sock) => onWhatsApp(sock, phones))
	}

	download(args) {
		return this.#ask((sock) => download(sock, this.logger, args))
	}

	/** Events up to `seq` are in wad's store. */
	acked(seq) {
		this.spool?.acked(seq)
	}

	async #begin(turn, creds) {
		const key = await spoolKey(this.peer, this.id)
		if (turn !== this.turn) return
		if (this.spool?.key !== key) {
			this.spool?.close()
			this.spool = new Spool(this.settings.spool, this.id, key)
			this.inbound = new Inbound(
				this.spool,
				(args, entries, flushed) => this.#tell('messages', args, entries, flushed),
				(message) => chosen(message, key, creds.value.me ?? {}),
			)
			this.inbound.replay()
			clearInterval(this.sweeper)
			this.sweeper = setInterval(() => this.inbound.sweep(), SWEEP).unref()
		}
		this.creds = creds
		this.keys = new Keys(this.peer, this.id)
		this.#connect()
	}

	#connect() {
		const { settings, caches, logger } = this
		// What an earlier socket deciphered and did not get to tell, because it fell.
		this.inbound.sweep(Infinity)
		const link = { open: false, over: false, qrs: 0, heard: 0, waiting: new Set() }
		link.offered = new Promise((resolve) => (link.offer = resolve))
		this.link = link
		const keys = fenced(this.keys, () => this.link === link && !this.removed)
		const make = (config) => owner.run({ session: this, link }, () => makeWASocket(config))
		const sock = make({
			...(settings.url ? { waWebSocketUrl: settings.url } : {}),
			...(settings.version ? { version: settings.version } : {}),
			browser: Array.isArray(settings.browser) ? settings.browser : Browsers.ubuntu('Chrome'),
			auth: { creds: this.creds.value, keys },
			logger,
			markOnlineOnConnect: settings.markOnline === true,
			// Own messages are the parent's, which knows them; and merged into their echo their updates would be lost.
			emitOwnEvents: false,
			syncFullHistory: false,
			// No history. But the first piece names the account's LIDs. (What is asked for RECENT decides whether Baileys
			// holds messages back for up to 20 s to wait for history.)
			shouldSyncHistoryMessage: ({ syncType }) => syncType === proto.HistorySync.HistorySyncType.INITIAL_BOOTSTRAP,
			shouldIgnoreJid: (jid) => isJidStatusBroadcast(jid) || isJidNewsletter(jid),
			// Slept inside the lock that all inbound messages pass, once for each that cannot be deciphered: with Baileys'
			// 250 ms eight of those held the others up for 2 s.
			retryRequestDelayMs: 50,
			msgRetryCounterCache: caches.retries,
			userDevicesCache: caches.devices,
			mediaCache: caches.uploads,
			cachedGroupMetadata: (jid) => this.#group(link.sock, jid),
			getMessage: (key) => this.#content(key),
			makeSignalRepository: signal(keys, {
				deciphered: (ciphertext, plaintext) => this.#deciphered(ciphertext, plaintext),
				author: (ciphertext) => this.inbound.stanzas.get(ciphertext)?.participant,
				enciphering: () => this.sender.enciphering(),
				paired: (pairs) => this.#pairs(pairs),
			}),
		})
		link.sock = sock
		// Each message that Baileys remembers for retries has a timer of 5 minutes, and a timer keeps the context that it
		// was made in: here the transaction of the send, with the keys it read. That was 12 KB a message, up to 6 MB a session.
		const { messageRetryManager: recent } = sock
		const remember = recent.addRecentMessage.bind(recent)
		recent.addRecentMessage = (...message) => outside.runInAsyncScope(remember, null, ...message)
		this.pressure.add(sock.ws.socket)
		this.#listen(link)
	}

	#listen(link) {
		const { ev, ws } = link.sock
		// Baileys holds events back and merges them, for 100 ms to 30 s, while WhatsApp has the receipts already. So we
		// hear them where they are emitted, before its buffer, and not where they come out of it.
		const emit = ev.emit
		ev.emit = (name, data) => {
			if (name === 'messages.upsert') this.#upserted(data)
			const result = emit(name, data)
			if (name !== 'messages.upsert') this.#heard(link, name, data)
			return result
		}
		ws.prependListener('CB:message', (stanza) => this.inbound.seen(stanza))
		ws.on('CB:ack,class:message', ({ attrs }) => this.sender.acked(attrs))
		ws.on('message', () => {
			const now = Date.now()
			if (now - link.heard < ALIVE) return
			link.heard = now
			this.#tell('alive', {})
		})
		const close = ws.close.bind(ws)
		ws.close = () => {
			const { socket } = ws
			const limit = setTimeout(() => socket?.terminate(), GOODBYE)
			socket?.resume() // one that rests would never see the answer
			return close().finally(() => clearTimeout(limit))
		}
	}

	/** An event of Baileys, besides `messages.upsert`. */
	#heard(link, name, data) {
		switch (name) {
			case 'connection.update':
				if (this.link === link) this.#connection(link, data)
				break
			case 'creds.update':
				this.creds.save().catch((error) => this.#fail('creds_not_stored', error))
				break
			case 'messages.update':
				this.#tell('updates', { updates: pack(data) })
				break
			case 'message-receipt.update':
				this.#tell('receipts', { receipts: pack(data) })
				break
			case 'groups.update':
				for (const { id } of data) this.caches.groups.del(id)
				this.#tell('groups.update', { groups: pack(data) })
				break
			case 'group-participants.update':
				this.caches.groups.del(data.id)
				this.#tell('groups.update', { groups: [pack(data)] })
				break
		}
	}

	#connection(link, { connection, qr, isNewLogin, lastDisconnect }) {
		if (qr) {
			link.offer()
			const life = link.qrs++ === 0 ? FIRST_QR : NEXT_QR
			this.#tell('qr', { qr, expiresAt: new Date(Date.now() + life).toISOString() })
		}
		if (isNewLogin) this.#tell('paired', {})
		if (connection === 'open') {
			link.open = true
			const { id, lid, name } = this.creds.value.me
			this.#tell('open', { me: { id, lid: lid ?? null, name: name ?? null } })
		}
		if (connection === 'close') {
			this.#ended(link, lastDisconnect?.error).catch((error) => this.#fail('not_started', error))
		}
	}

	async #ended(link, error) {
		const { turn } = this
		this.#over(link)
		const status = error?.output?.statusCode ?? null
		try {
			await this.creds.save() // before anybody connects with what is stored
		} catch (failure) {
			return this.#fail('creds_not_stored', failure)
		}
		if (turn !== this.turn) return
		// After pairing, and whenever the server likes. It is part of one connecting, and the parent hears nothing of it.
		if (status === DisconnectReason.restartRequired && this.creds.paired) return this.#connect()
		// What it deciphered and did not get to tell: after some closes the parent throws the spool's key away.
		this.inbound.sweep(Infinity)
		this.#closed({ status, reason: String(error?.message ?? 'closed'), data: pack(error?.data) ?? {} })
	}

	#closed(args) {
		this.#tell('close', args)
	}

	/** The bridge itself cannot go on with this session. */
	#fail(reason, error) {
		log('error', 'a session cannot go on', { session: this.id, reason, error: String(error?.message ?? error) })
		this.#quit(reason, String(error?.message ?? error))
	}

	#quit(reason, detail) {
		if (this.removed) return
		this.turn += 1
		this.#drop()
		this.#closed({ status: null, reason, data: { detail } })
	}

	/**
	 * An error of Baileys that nobody caught, in `link` or in a call: what state it left behind nobody knows, so the socket
	 * goes. What WhatsApp sent and is not told yet comes again, and may fall again: the parent waits longer each time.
	 */
	stumbled(what, error, link = this.link) {
		log('error', what, { session: this.id, error: String(error?.stack ?? error) })
		// The name alone: this is shown, and a message may quote what somebody wrote.
		if (link && link === this.link) this.#quit('stumbled', String(error?.name ?? 'error'))
	}

	/** End the socket of the moment, untold. */
	#drop() {
		const { link } = this
		if (!link) return
		this.link = null
		this.#over(link)
		link.sock.end(undefined).catch((error) => log('warning', 'a socket that does not end', { error: error.message }))
	}

	#over(link) {
		link.open = false
		link.over = true
		for (const lose of link.waiting) lose(new CallError('closed', 'the connection closed', { sent: false }))
		this.sender.closed()
	}

	async #deciphered(ciphertext, plaintext) {
		if (this.removed) throw new CallError('closed', 'the session has ended')
		try {
			await this.inbound.deciphered(ciphertext, plaintext, this.creds.value.me)
		} catch (error) {
			this.#fail('spool_failed', error)
			throw error // so that the key is not spent: WhatsApp sends the message again
		}
	}

	#upserted(data) {
		if (this.removed) return
		try {
			this.inbound.upserted(data)
		} catch (error) {
			this.#fail('spool_failed', error)
		}
	}

	#pairs(pairs) {
		const bare = (jid) => jid.replace(/:\d+@/, '@')
		const fresh = []
		for (const { lid: one, pn: other } of pairs) {
			// Baileys takes them in either order.
			const [lid, pn] = one.includes('@lid') ? [bare(one), bare(other)] : [bare(other), bare(one)]
			if (this.caches.pairs.get(lid) === pn) continue
			this.caches.pairs.set(lid, pn)
			fresh.push({ lid, pn })
		}
		if (fresh.length) this.#tell('mapping', { pairs: fresh })
	}

	async #group(sock, jid) {
		const known = this.caches.groups.get(jid)
		if (known) return known
		const group = await sock.groupMetadata(jid)
		this.caches.groups.set(jid, group)
		return group
	}

	/** The content of a message of ours, for a recipient that could not decipher it. */
	async #content(key) {
		const kept = await this.peer.call('message.get', { session: this.id, key: pack(key) })
		if (!kept) return undefined
		const { sock } = this.#live()
		const { message } = await generateWAMessage(key.remoteJid, outgoing(this.#sealed(kept.content, key.id)), {
			logger: this.logger,
			upload: sock.waUploadToServer,
			mediaCache: this.caches.uploads,
			userJid: this.creds.value.me.id,
			messageId: key.id,
			...(kept.quoted ? { quoted: quotable(kept.quoted) } : {}),
		})
		return message
	}

	/** `content` with the secret that votes come under, where it is a poll: the same one, however often it is sent. */
	#sealed(content, id) {
		if (!content?.poll) return content
		return { ...content, poll: { ...content.poll, messageSecret: pack(pollSecret(this.spool.key, id)) } }
	}

	/** Do `work` with the socket. */
	async #ask(work) {
		const link = this.#opened()
		try {
			return await whileOpen(link, () => work(link.sock))
		} catch (error) {
			throw explain(error, false)
		}
	}

	#live() {
		if (!this.link || this.link.over) throw new CallError('closed', 'the session has no connection', { sent: false })
		return this.link
	}

	#opened() {
		const link = this.#live()
		if (!link.open) throw new CallError('closed', 'the session is not open', { sent: false })
		return link
	}

	/** Tell an event, in order; one that carries entries of the spool once they are on the disk. */
	#tell(name, args, entries = [], flushed = undefined) {
		this.told = this.told
			.then(() => flushed)
			.then(() => {
				if (this.removed) return
				const seq = this.emit(name, { session: this.id, ...args })
				for (const entry of entries) entry.seq = seq
			})
			.catch((error) => this.#fail('spool_failed', error))
	}
}

/**
 * Ask for a pairing code. Baileys gives it when the request has left; it may be shown when WhatsApp has answered, which
 * knows the code by then, or refuses it. Nothing else is asked on a socket that is not paired.
 */
async function codeFor(sock, phone, signal) {
	const answered = Promise.race([
		once(sock.ws, 'CB:iq,type:result,link_code_companion_reg', { signal }),
		once(sock.ws, 'CB:iq,type:error', { signal }),
	])
	answered.catch(() => {})
	const code = await sock.requestPairingCode(phone)
	const [answer] = await answered
	assertNodeErrorFree(answer)
	return code
}

/** `work()`, no longer than the socket lasts: Baileys' own queries outlive it by a minute. */
function whileOpen(link, work) {
	return new Promise((resolve, reject) => {
		// Not raced against one promise for the socket's end: that one would keep all that was ever raced with it.
		link.waiting.add(reject)
		Promise.resolve()
			.then(work)
			.then(resolve, reject)
			.finally(() => link.waiting.delete(reject))
	})
}
