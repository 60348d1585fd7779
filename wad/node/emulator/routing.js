/** Where a linked client's stanzas go: messages to phones and to other clients, receipts back, presence to who watches. */

import { log } from '../lines.js'
import { receive, receiptKey } from './contact.js'
import { SENDING } from './faults.js'
import { child, children, node, seconds } from './nodes.js'
import { proves } from './pairing.js'
import { resend } from './saying.js'

/** A stanza that is no query. */
export function route(world, companion, stanza) {
	const handler = { message, receipt, ack, presence, chatstate, ib: () => {}, call: acknowledge }[stanza.tag]
	if (handler) handler(world, companion, stanza)
	else log('info', 'a stanza that nobody handles', { tag: stanza.tag, attrs: stanza.attrs })
}

/** The server's word that it has a stanza. */
function acknowledge(world, companion, { tag, attrs }, more = {}) {
	const { id, to, type, participant } = attrs
	return companion.connection?.send(node('ack', { class: tag, id, from: to, type, participant, ...more }))
}

// ---------------------------------------------------------------------------------------------------------- messages

function message(world, companion, stanza) {
	const { id, to, type, category } = stanza.attrs
	const account = companion.person
	const connection = companion.connection
	if (category === 'peer') {
		acknowledge(world, companion, stanza, { t: seconds() })
		return receive(world, account, { from: companion, id, to, server: 's.whatsapp.net', parts: sealed(stanza) })
	}
	const group = world.groups.get(to)
	const resent = stanza.attrs.participant !== undefined || stanza.attrs.device_fanout === 'false'
	const entry = world.ledger.out(account.phone, id, { chat: group ? to : (world.people.at(to)?.person.phone ?? to), type })
	entry.sent++
	if (resent) entry.resent++
	world.ledger.touch(entry)

	const confirm = (error = undefined) => {
		// The client may be gone, or be another connection by now: then this ack is lost, as it would be.
		if (
			companion.connection !== connection ||
			!acknowledge(world, companion, stanza, { t: seconds(), type: undefined, error })
		)
			return
		if (error) entry.refused.push(Number(error))
		else entry.acked.push(Date.now())
		world.ledger.touch(entry)
	}
	const deliver = () => fanOut(world, companion, stanza, { group, entry })
	const swallow = () => {
		entry.dropped++
		world.ledger.touch(entry)
	}

	if (to.endsWith('@g.us') && !group?.members.has(account)) {
		swallow()
		return confirm('403')
	}
	const identity = child(stanza, 'device-identity')
	if (identity && !proven(companion, identity.content)) {
		log('error', 'a client shows a device identity that does not prove it', { phone: account.phone, id })
		swallow()
		return confirm('479')
	}
	const fault = world.faults.take(account.phone, SENDING)
	switch (fault?.kind) {
		case undefined:
			deliver()
			return confirm()
		case 'no_ack':
			return deliver()
		case 'lost':
			return swallow()
		case 'error':
			swallow()
			return confirm(String(fault.code))
		case 'delay':
			deliver()
			return setTimeout(confirm, fault.ms)
		case 'late':
			return setTimeout(() => {
				deliver()
				confirm()
			}, fault.ms)
		case 'drop_before':
			swallow()
			return connection.cut()
		case 'drop_after':
			deliver()
			return connection.cut()
		default:
			throw new Error(`no such fault of sending: ${fault.kind}`)
	}
}

/** Whether a device identity proves the client. A client shows the same one every time, so it is checked once. */
function proven(companion, content) {
	const shown = Buffer.from(content)
	if (companion.provenBy?.equals(shown)) return true
	if (!proves(companion, shown)) return false
	companion.provenBy = shown
	return true
}

/** The ciphertexts directly inside a node. */
const sealed = (parent) => children(parent, 'enc').map(({ attrs, content }) => ({ type: attrs.type, attrs, content }))

/** Give a message's ciphertexts to the devices that they are for. */
function fanOut(world, companion, stanza, { group, entry }) {
	const { to, participant } = stanza.attrs
	const targets = []
	const target = (jid, parts) => {
		const at = world.people.at(jid)
		if (at && at.person.registered) targets.push({ ...at, jid, parts })
	}
	const own = new Map(children(child(stanza, 'participants'), 'to').map((each) => [each.attrs.jid, sealed(each)]))
	const shared = sealed(stanza)
	if (!shared.length) for (const [jid, parts] of own) target(jid, parts)
	else if (!group) target(to, shared)
	else if (participant) target(participant, shared)
	else {
		const named = new Map([...own].map(([jid, parts]) => [nameOf(world.people.at(jid)), parts]))
		for (const person of group.members.keys()) {
			for (const device of [0, ...person.companions.keys()]) {
				const at = { person, device, server: group.server }
				targets.push({
					...at,
					jid: person.jid(group.server, device),
					parts: [...(named.get(nameOf(at)) ?? []), ...shared],
				})
			}
		}
	}
	for (const { person, device, server, parts } of targets) {
		if (person === companion.person && device === companion.device) continue
		if (device === 0) {
			// In the order of arrival, and not waited for: a phone may be slow.
			receive(world, person, {
				from: companion,
				id: stanza.attrs.id,
				to,
				server: group ? group.server : server,
				group,
				parts,
				entry,
			}).catch((error) =>
				log('error', 'a phone failed on a message', {
					phone: person.phone,
					id: stanza.attrs.id,
					error: String(error.stack),
				}),
			)
		} else
			pass(world, companion, person.companions.get(device), stanza, { server: group ? group.server : server, group, parts })
	}
}

const nameOf = (at) => at && `${at.person.phone}:${at.device}`

/** Hand a client's message to another linked client. */
function pass(world, from, receiver, stanza, { server, group, parts }) {
	if (!receiver) return
	const { id, to, type, edit } = stanza.attrs
	const sender = from.person
	const pn = server !== 'lid'
	const attrs = { id, t: seconds(), type, edit, notify: sender.name, addressing_mode: pn ? 'pn' : 'lid' }
	if (group) Object.assign(attrs, { from: group.id, participant: from.jid(server), ...group.other('participant', sender) })
	else if (receiver.person === sender) Object.assign(attrs, { from: from.jid(server), recipient: to })
	else Object.assign(attrs, { from: from.jid(server), [pn ? 'sender_lid' : 'sender_pn']: pn ? sender.lidJid : sender.pnJid })
	const identity = child(stanza, 'device-identity')
	if (receiver.person !== sender) {
		const entry = world.ledger.in(receiver.person.phone, id, {
			chat: group ? group.id : sender.phone,
			from: sender.phone,
			content: null,
		})
		entry.said++
		world.ledger.touch(entry)
	}
	const content = parts.map((part) => node('enc', part.attrs, part.content))
	receiver.hold(`message:${id}`, node('message', attrs, identity ? [...content, identity] : content))
}

// ---------------------------------------------------------------------------------------------------------- receipts

const TAKEN = new Set(['', 'inactive', 'sender', 'peer_msg', 'hist_sync'])

function receipt(world, companion, stanza) {
	const { id, to, participant, type = '' } = stanza.attrs
	const account = companion.person
	const ids = [id, ...children(child(stanza, 'list'), 'item').map((item) => item.attrs.id)]
	const author = world.people.at(participant ?? to)
	acknowledge(world, companion, stanza)
	if (type === 'retry') return retried(world, companion, stanza, author)
	for (const each of ids) {
		if (TAKEN.has(type)) companion.settle(`message:${each}`)
		const entry = world.ledger.in(account.phone, each)
		if (!entry) continue
		if (TAKEN.has(type) && entry.received === null) Object.assign(entry, { received: Date.now(), receipt: type })
		if (type === 'read' || type === 'read-self' || type === 'played') entry.read ??= Date.now()
		world.ledger.touch(entry)
	}
	if (author && author.person !== account) {
		world.tell('receipt', {
			account: account.phone,
			to: author.person.phone,
			chat: to.endsWith('@g.us') ? to : author.person.phone,
			ids,
			type,
		})
		if (type === '' || type === 'inactive') passReceipt(companion, author, stanza, undefined)
		else if (type === 'read' || type === 'played') passReceipt(companion, author, stanza, type)
	}
}

/** Hand a client's receipt to the linked clients of who wrote the message. */
function passReceipt(companion, author, { attrs, content }, type) {
	for (const receiver of author.person.companions.values()) {
		const from = attrs.to.endsWith('@g.us')
			? { from: attrs.to, participant: companion.jid(author.server) }
			: { from: companion.jid(author.server) }
		const stanza = node('receipt', { id: attrs.id, ...from, type, t: seconds() }, content)
		receiver.hold(receiptKey(stanza.attrs), stanza)
	}
}

/** A client cannot read a message: its author says it again. */
function retried(world, companion, stanza, author) {
	const { id } = stanza.attrs
	const facts = companion.failed(id)
	const entry = world.ledger.in(companion.person.phone, id)
	if (entry) {
		entry.retries++
		world.ledger.touch(entry)
	}
	if (!author) return
	if (author.device > 0) {
		const receiver = author.person.companions.get(author.device)
		if (!receiver) return
		const group = stanza.attrs.to.endsWith('@g.us')
		const from = group
			? { from: stanza.attrs.to, participant: companion.jid(author.server) }
			: { from: companion.jid(author.server) }
		const passed = node('receipt', { id, ...from, type: 'retry', t: seconds() }, stanza.content)
		receiver.hold(receiptKey(passed.attrs), passed)
		return
	}
	resend(world, author.person, companion, stanza, facts)?.catch((error) =>
		log('error', 'a phone cannot say a message again', { id, error: String(error.stack) }),
	)
}

/** A client took a stanza, or refuses a message. */
function ack(world, companion, { attrs }) {
	const { id, to, type, participant, error } = attrs
	if (attrs.class === 'receipt') return companion.settle(receiptKey({ id, type, from: to, participant }))
	if (attrs.class === 'notification') return companion.settle(`notification:${id}`)
	if (attrs.class !== 'message') return undefined
	const entry = world.ledger.in(companion.person.phone, id)
	if (entry) {
		if (error) entry.nacked.push(Number(error))
		else if (entry.received === null) Object.assign(entry, { received: Date.now(), receipt: 'ack' })
		world.ledger.touch(entry)
	}
	if (error && companion.nackFollowsRetry(id)) return undefined
	return companion.settle(`message:${id}`)
}

// ---------------------------------------------------------------------------------------------------------- presence

function presence(world, companion, { attrs }) {
	const account = companion.person
	if (attrs.type === 'subscribe') {
		const at = world.people.at(attrs.to)
		if (!at) return
		companion.subscriptions.add(at.person)
		return showPresence(companion, at.person, at.server)
	}
	if (attrs.name) account.name = attrs.name
	if (attrs.type) {
		companion.available = attrs.type !== 'unavailable'
		world.tell('presence', { account: account.phone, to: null, state: attrs.type })
		for (const watcher of world.accounts()) {
			for (const other of watcher.companions.values()) if (other.subscriptions.has(account)) showPresence(other, account)
		}
	}
}

/** Tell a client whether somebody is online. */
export function showPresence(companion, person, server = 's.whatsapp.net') {
	const online = person.online || [...person.companions.values()].some((each) => each.available)
	companion.tell(
		node('presence', {
			from: person.jid(server),
			type: online ? 'available' : 'unavailable',
			last: online ? undefined : seconds(),
		}),
	)
}

function chatstate(world, companion, stanza) {
	const { to } = stanza.attrs
	const state = stanza.content?.[0]?.attrs.media === 'audio' ? 'recording' : stanza.content?.[0]?.tag
	const group = world.groups.get(to)
	const at = world.people.at(to)
	world.tell('presence', { account: companion.person.phone, to: group ? to : (at?.person.phone ?? to), state })
	typing(world, companion.person, { group, to: at?.person, state, server: at?.server })
}

/** Show linked clients that somebody is writing, or has stopped. */
export function typing(world, person, { group, to, state, server = 's.whatsapp.net' }) {
	const what = [node(state === 'recording' ? 'composing' : state, state === 'recording' ? { media: 'audio' } : {})]
	const names = group ? { from: group.id, participant: person.jid(group.server) } : { from: person.jid(server) }
	for (const each of group ? group.members.keys() : to ? [to] : []) {
		if (each === person) continue
		for (const companion of each.companions.values()) companion.tell(node('chatstate', names, what))
	}
}
