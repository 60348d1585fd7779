/** What WhatsApp was told we have, and wad does not have yet: one sealed file a session, replayed after a crash. */

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { closeSync, constants, existsSync, fdatasync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { CallError, log } from '../lines.js'

const flush = promisify(fdatasync)
const IV = 12 // bytes, as AES-GCM wants them
const TAG = 16
/** Bytes of records that are done with, some hundred messages, after which the rest is written anew. They are told twice. */
const SLACK = 1 << 16

/**
 * One session's spool. A record is in the file from `keep` until `acked` covers the event that carried it.
 *
 * A line is base64 of IV, AES-256-GCM of the record's JSON, tag. The last line may be torn by a crash: then WhatsApp
 * was told nothing about it, and sends it again.
 */
export class Spool {
	/**
	 * @param {string} dir
	 * @param {string} session
	 * @param {string} key 32 bytes in base64
	 */
	constructor(dir, session, key) {
		checkName(session)
		// The parent's directory is there. (Not `recursive`: where it can make nothing, Node 20's tries for ever.)
		if (!existsSync(dir)) mkdirSync(dir, { mode: 0o700 })
		this.session = session
		this.key = key
		this.path = join(dir, `${session}.jsonl`)
		this.secret = Buffer.from(key, 'base64')
		/** Records in the file that wad has not acknowledged, oldest first. */
		this.pending = new Set()
		this.size = 0
		this.dead = 0
		/** How many dead bytes are worth the file's being written anew. */
		this.slack = SLACK
		this.flushing = null
		this.again = null
		this.fd = openSync(this.path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND, 0o600)
		this.#read()
	}

	/**
	 * Write `record` down. It survives this process when `keep` returns, and the machine when `flushed` does.
	 *
	 * @param {object} record JSON values
	 * @returns {{record: object, seq: number|null}} its entry
	 */
	keep(record) {
		const entry = { record, seq: null, line: this.#seal(record), at: Date.now() }
		const written = writeSync(this.fd, entry.line)
		if (written < entry.line.length) {
			ftruncateSync(this.fd, this.size) // or the next record would continue the torn line
			throw new CallError('spool_full', 'no room for the spool')
		}
		this.size += written
		this.pending.add(entry)
		return entry
	}

	/** Wait until all that was kept so far is on the disk. Callers meanwhile share the next flush. */
	flushed() {
		if (!this.flushing) {
			this.flushing = flush(this.fd).finally(() => (this.flushing = null))
			return this.flushing
		}
		this.again ??= this.flushing
			.catch(() => {})
			.then(() => {
				this.again = null
				return this.flushed()
			})
		return this.again
	}

	/** The event `seq`, and all before it, are in wad's store. */
	acked(seq) {
		for (const entry of this.pending) {
			if (entry.seq === null || entry.seq > seq) continue
			this.pending.delete(entry)
			this.dead += entry.line.length
		}
		if (this.fd === null || this.dead === 0) return
		if (this.flushing) return // a later one does it: the descriptor is in use
		if (this.pending.size === 0) {
			ftruncateSync(this.fd, 0)
			this.size = this.dead = 0
		} else if (this.dead > this.slack && this.dead > this.size / 2) this.#compact()
	}

	/** `entry` needs no event: nobody waits for it. */
	drop(entry) {
		this.pending.delete(entry)
		this.dead += entry.line.length
	}

	/** Leave the file as it is: whoever opens the session next replays it. */
	close() {
		if (this.fd === null) return
		closeSync(this.fd)
		this.fd = null
		this.pending.clear()
	}

	/** Write the file anew, without what is done with. Where that fails the file is fine as it is, only longer. */
	#compact() {
		try {
			this.#rewrite()
			this.slack = SLACK
		} catch (error) {
			this.slack = this.dead + SLACK // not with every acknowledgement
			log('warning', 'a spool that cannot be written anew', { session: this.session, error: String(error?.message ?? error) })
		}
	}

	#rewrite() {
		const lines = [...this.pending].map((entry) => entry.line).join('')
		const beside = `${this.path}.new`
		const fd = openSync(beside, 'w', 0o600)
		try {
			if (writeSync(fd, lines) < lines.length) throw new CallError('spool_full', 'no room for the spool')
			fsyncSync(fd)
		} finally {
			closeSync(fd)
		}
		renameSync(beside, this.path)
		closeSync(this.fd)
		this.fd = openSync(this.path, constants.O_RDWR | constants.O_APPEND)
		this.size = lines.length
		this.dead = 0
	}

	#read() {
		const text = readFileSync(this.path, 'latin1')
		const lines = text.split('\n')
		const torn = lines.pop() // empty where the last line is whole
		let lost = 0
		for (const line of lines) {
			const record = this.#open(line)
			if (record) this.pending.add({ record, seq: null, line: `${line}\n`, at: 0 })
			else lost += 1
		}
		if (lost) log('error', 'records of the spool that cannot be read', { session: this.session, count: lost })
		const whole = text.length - torn.length
		if (torn) ftruncateSync(this.fd, whole)
		this.size = whole
		this.dead = lost ? whole - [...this.pending].reduce((sum, entry) => sum + entry.line.length, 0) : 0
	}

	#seal(record) {
		const iv = randomBytes(IV)
		const cipher = createCipheriv('aes-256-gcm', this.secret, iv).setAAD(Buffer.from(this.session))
		const text = cipher.update(JSON.stringify(record), 'utf8')
		return `${Buffer.concat([iv, text, cipher.final(), cipher.getAuthTag()]).toString('base64')}\n`
	}

	#open(line) {
		try {
			const bytes = Buffer.from(line, 'base64')
			const decipher = createDecipheriv('aes-256-gcm', this.secret, bytes.subarray(0, IV))
			decipher.setAAD(Buffer.from(this.session)).setAuthTag(bytes.subarray(-TAG))
			const text = Buffer.concat([decipher.update(bytes.subarray(IV, -TAG)), decipher.final()])
			return JSON.parse(text.toString('utf8'))
		} catch {
			return null // another key, or bytes that changed: counted, and told, by the caller
		}
	}
}

/** Refuse a session id that would be another file than one in the spool's directory. */
export function checkName(session) {
	if (!/^[A-Za-z0-9_-]{1,128}$/.test(session)) throw new CallError('bad_settings', 'a session id that is no file name')
}

/**
 * The key of a session's spool, kept with the session's other keys; made at first.
 *
 * @param {{call: (name: string, args: object) => Promise<any>}} peer
 * @param {string} session
 * @returns {Promise<string>} base64
 */
export async function spoolKey(peer, session) {
	const { key } = (await peer.call('keys.get', { session, type: 'spool', ids: ['key'] })) ?? {}
	if (typeof key === 'string') return key
	const made = randomBytes(32).toString('base64')
	await peer.call('keys.set', { session, data: { spool: { key: made } } })
	return made
}
