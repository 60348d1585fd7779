/** What a session remembers from one socket to the next: retry counts, devices, groups, numbers, uploaded files. */

import { statSync } from 'node:fs'

const MINUTE = 60_000

/** Entries that live `ttl` milliseconds, at most `most` of them: the oldest goes first. Baileys' CacheStore. */
export class Cache {
	constructor({ ttl, most = 5_000 }) {
		this.ttl = ttl
		this.most = most
		this.entries = new Map()
	}

	get(key) {
		const entry = this.entries.get(key)
		if (!entry) return undefined
		if (entry.until > Date.now()) return entry.value
		this.entries.delete(key)
		return undefined
	}

	set(key, value) {
		const now = Date.now()
		this.entries.delete(key) // so that it moves to the young end
		this.entries.set(key, { value, until: now + this.ttl })
		for (const [oldest, entry] of this.entries) {
			if (entry.until > now && this.entries.size <= this.most) break
			this.entries.delete(oldest)
		}
		return true
	}

	del(key) {
		return this.entries.delete(key)
	}

	flushAll() {
		this.entries.clear()
	}
}

/**
 * Signal keys by `<kind>.<id>`, written through. Pre-keys are left out: 812 of them are made at pairing, and each is
 * read once, by the first message of a stranger.
 */
export class KeyCache extends Cache {
	constructor() {
		super({ ttl: 5 * MINUTE, most: 1_000 })
	}

	set(key, value) {
		return key.startsWith('pre-key.') || super.set(key, value)
	}
}

/**
 * Uploads by file. Baileys asks by `<kind>:<path>` alone; here a file that changed since is another file.
 */
class Uploads extends Cache {
	get(key) {
		const entry = super.get(key)
		return entry && entry.mark === mark(key) ? entry.value : undefined
	}

	set(key, value) {
		return super.set(key, { value, mark: mark(key) })
	}
}

function mark(key) {
	try {
		const { size, mtimeMs, ino } = statSync(key.slice(key.indexOf(':') + 1))
		return `${size} ${mtimeMs} ${ino}`
	} catch {
		return null // gone, or never a file; nothing equals it but another that is gone
	}
}

/**
 * @returns the caches of one session
 */
export function makeCaches() {
	return {
		// The first two with the times that Baileys gives its own, which die with each socket.
		retries: new Cache({ ttl: 60 * MINUTE }),
		devices: new Cache({ ttl: 5 * MINUTE }),
		groups: new Cache({ ttl: 5 * MINUTE, most: 500 }),
		// Numbers that WhatsApp knows, and the JID it knows them by. Those that it does not know are asked again.
		numbers: new Cache({ ttl: 24 * 60 * MINUTE }),
		// Pairs of LID and number that were told already.
		pairs: new Cache({ ttl: 24 * 60 * MINUTE }),
		uploads: new Uploads({ ttl: 60 * MINUTE, most: 500 }),
	}
}
