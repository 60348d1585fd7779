/** All that the emulator knows, in one place: people, groups, media, the ledger, and what is to go wrong. */

import { Faults } from './faults.js'
import { Groups } from './groups.js'
import { Ledger } from './ledger.js'
import { Media } from './media.js'
import { People } from './people.js'

/** How everybody behaves unless a person's own settings say otherwise. */
export const DEFAULTS = {
	autoRead: false, // people read what they are shown
	receipts: true, // phones confirm what they are shown
	history: true, // an account's phone shares its (empty) history with a new client, which otherwise waits 20 s for it
	addressing: 'pn', // how a person's 1:1 messages name the sender: 'pn' or 'lid'
	minVersion: null, // clients older than [a, b, c] are refused with 405
	offlinePreview: false, // announce the queue before it comes, as WhatsApp does when it is long
}

export class World {
	people = new People()
	ledger = new Ledger()
	media = new Media()
	faults = new Faults()
	settings = { ...DEFAULTS }

	/** @param {(name: string, args: object) => void} tell hears what happens */
	constructor(tell) {
		this.tell = tell
		this.groups = new Groups(this)
		this.ledger.changed = (last) => tell('ledger', { last })
		this.media.uploadFault = (phone) => this.faults.take(phone, ['upload'])?.code
	}

	/** How a person behaves in a matter of `settings`. */
	setting(person, name) {
		return person.settings[name] ?? this.settings[name]
	}

	/** Everybody who has or had a linked client. */
	accounts() {
		return [...this.people].filter((person) => person.isAccount)
	}
}
