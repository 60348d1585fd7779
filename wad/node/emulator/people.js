/** Everybody on the simulated WhatsApp: a person is a number with a phone; linked clients hang on it. */

import { Device } from './device.js'
import { SERVER, digits, jid } from './nodes.js'

const PHONE_DIGITS = 14
const REMEMBERED = 200 // messages a person's phone keeps: for replies, votes, retries and resends

/** The digits of a number's LID. Real ones tell nothing of the number; these can be read, which helps in a log. */
export const lidOf = (phone) => `2${phone.padStart(PHONE_DIGITS, '0')}`

const phoneOf = (lid) => lid.slice(1).replace(/^0+/, '')

/** A map that forgets its oldest entries. */
export class Recent {
	#limit
	#map = new Map()

	constructor(limit) {
		this.#limit = limit
	}

	get(key) {
		return this.#map.get(key)
	}

	has(key) {
		return this.#map.has(key)
	}

	set(key, value) {
		this.#map.delete(key)
		this.#map.set(key, value)
		if (this.#map.size > this.#limit) this.#map.delete(this.#map.keys().next().value)
	}

	values() {
		return [...this.#map.values()]
	}
}

export class Person {
	#device = null
	registered = true
	/** Linked clients by their device number. A person who has (or had) one is an account. */
	companions = new Map()
	isAccount = false
	lastDevice = 0
	/** Why the server refuses this number: {reason, code?, expire?}. */
	ban = null
	settings = {}
	/** Messages that the phone has, by id: {message, author, group, server, attrs}. */
	messages = new Recent(REMEMBERED)
	/** What the person was shown, as `sender id`: the same id twice is one message. */
	shown = new Set()
	/** How often the phone asked for a message that it could not read. */
	retries = new Recent(REMEMBERED)
	/** Accounts whose clients asked for this person's devices, and so have to hear when these change. */
	watchers = new Set()
	/** Where a group's sender key has been given to: `group companion`. */
	keyHolders = new Set()
	online = false
	/** What this person is saying right now, and after it the next. */
	saying = Promise.resolve()

	constructor(phone) {
		this.phone = phone
		this.lid = lidOf(phone)
		this.name = `Contact ${phone.slice(-4)}`
	}

	/** The phone itself. Made when first needed: most numbers are only ever asked about. */
	get device() {
		return (this.#device ??= new Device())
	}

	get pnJid() {
		return this.phone + SERVER
	}

	get lidJid() {
		return `${this.lid}@lid`
	}

	/** This person's JID on `server`, of one of the devices; 0 is the phone. */
	jid(server, device = 0) {
		const user = server === 'lid' ? this.lid : this.phone
		return `${user}${device ? `:${device}` : ''}@${server}`
	}

	/** The name of a device in Signal sessions. */
	peer(device = 0) {
		return this.jid('lid', device)
	}
}

export class People {
	#people = new Map()

	/** The person with that number. Every number exists until `register` says otherwise. */
	get(phone) {
		phone = digits(phone)
		let person = this.#people.get(phone)
		if (!person) this.#people.set(phone, (person = new Person(phone)))
		return person
	}

	/** The person and the device behind a JID, whichever its form; undefined for groups and the like. */
	at(value) {
		const parts = jid(value)
		if (!parts) return undefined
		if (parts.server === 's.whatsapp.net') return { person: this.get(parts.user), device: parts.device, server: parts.server }
		if (parts.server === 'lid') return { person: this.get(phoneOf(parts.user)), device: parts.device, server: parts.server }
		return undefined
	}

	[Symbol.iterator]() {
		return this.#people.values()
	}
}
