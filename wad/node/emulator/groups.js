/** Groups: who is in them, what they are called, and the notifications by which clients hear of it. */

import { randomBytes, randomInt } from 'node:crypto'

import { CallError } from '../lines.js'
import { node, seconds } from './nodes.js'

const RANKS = { promote: 'admin', demote: null }

export class Group {
	members = new Map() // person → 'superadmin', 'admin' or null
	description = ''
	code = randomBytes(16).toString('base64url')

	constructor(id, { subject, creator, server }) {
		this.id = id
		this.subject = subject
		this.subjectBy = creator
		this.subjectAt = Date.now()
		this.creator = creator
		this.created = Date.now()
		/** How the group names people: 'lid' or 's.whatsapp.net'. */
		this.server = server
	}

	get mode() {
		return this.server === 'lid' ? 'lid' : 'pn'
	}

	/** The other name of a person, as an attribute: what `lid` or `pn` addressing leaves out. */
	other(prefix, person) {
		return this.server === 'lid' ? { [`${prefix}_pn`]: person.pnJid } : { [`${prefix}_lid`]: person.lidJid }
	}

	participant(person, extra = {}) {
		const other = this.server === 'lid' ? { phone_number: person.pnJid } : { lid: person.lidJid }
		return node('participant', {
			jid: person.jid(this.server),
			...other,
			type: this.members.get(person) ?? undefined,
			...extra,
		})
	}

	/** The group as queries answer it. */
	describe() {
		return node(
			'group',
			{
				id: this.id.split('@')[0],
				subject: this.subject,
				s_t: seconds(this.subjectAt),
				s_o: this.subjectBy.jid(this.server),
				creation: seconds(this.created),
				creator: this.creator.jid(this.server),
				...(this.server === 'lid' ? { creator_pn: this.creator.pnJid, s_o_pn: this.subjectBy.pnJid } : {}),
				addressing_mode: this.mode,
				size: String(this.members.size),
			},
			[
				...(this.description
					? [node('description', { id: 'd1' }, [node('body', {}, Buffer.from(this.description))])]
					: []),
				...[...this.members.keys()].map((person) => this.participant(person)),
			],
		)
	}
}

export class Groups {
	#groups = new Map()
	#world

	constructor(world) {
		this.#world = world
	}

	get(id) {
		return this.#groups.get(id)
	}

	need(id) {
		const group = this.get(id)
		if (!group) throw new CallError('no_such_group', `no group ${id}`)
		return group
	}

	of(person) {
		return [...this.#groups.values()].filter((group) => group.members.has(person))
	}

	byCode(code) {
		return [...this.#groups.values()].find((group) => group.code === code)
	}

	[Symbol.iterator]() {
		return this.#groups.values()
	}

	/** @returns {Group} */
	create({ subject, creator, people, server }) {
		const id = `120363${String(randomInt(1e12)).padStart(12, '0')}@g.us`
		const group = new Group(id, { subject, creator, server })
		group.members.set(creator, 'superadmin')
		for (const person of people) if (person !== creator) group.members.set(person, null)
		this.#groups.set(id, group)
		this.#notify(group, creator, node('create', { type: 'new', key: randomBytes(8).toString('hex') }, [group.describe()]))
		return group
	}

	add(group, actor, people) {
		const fresh = people.filter((person) => !group.members.has(person))
		if (!fresh.length) return
		for (const person of fresh) group.members.set(person, null)
		this.#notify(
			group,
			actor,
			node(
				'add',
				{ reason: 'invite' },
				fresh.map((person) => group.participant(person)),
			),
		)
	}

	/** Take people out; somebody who takes out themselves leaves. */
	remove(group, actor, people) {
		const gone = people.filter((person) => group.members.has(person))
		if (!gone.length) return
		const change = node(
			'remove',
			{},
			gone.map((person) => group.participant(person)),
		)
		this.#notify(group, actor, change)
		for (const person of gone) group.members.delete(person)
		// Who comes back needs the others' sender keys again.
		for (const person of group.members.keys()) {
			for (const absent of gone) {
				for (const companion of absent.companions.values()) person.keyHolders.delete(`${group.id} ${companion.peer}`)
			}
		}
	}

	rank(group, actor, people, change) {
		for (const person of people) if (group.members.has(person)) group.members.set(person, RANKS[change])
		this.#notify(
			group,
			actor,
			node(
				change,
				{},
				people.map((person) => group.participant(person)),
			),
		)
	}

	subject(group, actor, subject) {
		Object.assign(group, { subject, subjectBy: actor, subjectAt: Date.now() })
		this.#notify(group, actor, node('subject', { subject, s_t: seconds(), s_o: actor.jid(group.server) }))
	}

	describe(group, actor, description) {
		group.description = description
		this.#notify(
			group,
			actor,
			node('description', { id: randomBytes(8).toString('hex') }, [node('body', {}, Buffer.from(description))]),
		)
	}

	#notify(group, actor, change) {
		const id = randomBytes(8).toString('hex').toUpperCase()
		const stanza = node(
			'notification',
			{
				from: group.id,
				id,
				type: 'w:gp2',
				t: seconds(),
				notify: actor.name,
				participant: actor.jid(group.server),
				...group.other('participant', actor),
				addressing_mode: group.mode,
			},
			[change],
		)
		for (const person of group.members.keys()) {
			for (const companion of person.companions.values()) companion.hold(`notification:${id}`, stanza)
		}
		this.#world.tell('group', {
			group: group.id,
			change: change.tag,
			by: actor.phone,
			subject: group.subject,
			members: [...group.members.keys()].map(({ phone }) => phone),
		})
	}
}
