/** What a simulated person's phone does with a message: reads it, shows it once, confirms it, or asks for it again. */

import { CallError, log } from '../lines.js'
import { mediaOf, summary } from './content.js'
import { node, seconds } from './nodes.js'
import { RETRIES } from './saying.js'

/**
 * A message reached a phone (device 0 of `person`).
 *
 * @param {object} delivery
 * @param {import('./companion.js').Companion} delivery.from the client that sent it
 * @param {string} delivery.id
 * @param {string} delivery.to the JID that the client wrote to
 * @param {string} delivery.server how the chat names people
 * @param {import('./groups.js').Group} [delivery.group]
 * @param {Array<{type: string, content: Uint8Array}>} delivery.parts the ciphertexts that are for this phone, in order
 * @param {object} [delivery.entry] of the ledger; a peer message has none
 */
export function receive(world, person, delivery) {
	return person.device.run(async () => {
		const { message, error } = await read(person, delivery)
		if (!delivery.entry) {
			if (message) return person.device.peerMessage?.(message, delivery.from)
			return log('warning', 'a phone cannot read what its client asks', { phone: person.phone, error: error?.message })
		}
		const own = delivery.from.person === person
		const told = (delivery.entry.recipients[person.phone] ??= {
			decrypted: 0,
			undecryptable: 0,
			shown: 0,
			shownAt: null,
			content: null,
		})
		const seen = `${delivery.from.person.phone} ${delivery.id}`
		if (!message) {
			told.undecryptable++
			told.error = error?.message
			world.ledger.touch(delivery.entry)
			// A copy of what the person has already: a phone drops it, there is nothing to ask for.
			if (person.shown.has(seen)) return own ? undefined : confirm(world, person, delivery)
			return askAgain(world, person, delivery)
		}
		told.decrypted++
		const shown = !person.shown.has(seen)
		const inner = message.deviceSentMessage?.message ?? message
		if (shown) {
			person.shown.add(seen)
			told.shown++
			told.shownAt = Date.now()
			told.content = await summary(inner, world.media)
			person.messages.set(delivery.id, {
				message: inner,
				author: delivery.from.person,
				group: delivery.group,
				chat: chatOf(world, delivery),
				server: delivery.server,
			})
		}
		world.ledger.touch(delivery.entry)
		if (own) return
		world.tell('message', {
			account: delivery.from.person.phone,
			to: person.phone,
			group: delivery.group?.id ?? null,
			from: delivery.from.person.phone,
			id: delivery.id,
			content: told.content,
			shown,
			at: Date.now(),
		})
		confirm(world, person, delivery)
		if (shown && world.setting(person, 'autoRead') && !inner.protocolMessage && !inner.reactionMessage) {
			receipt(world, person, {
				account: delivery.from.person,
				group: delivery.group,
				server: delivery.server,
				ids: [delivery.id],
				type: 'read',
			})
		}
	})
}

/** Read the parts of a delivery. A message is there when any of them held more than a sender key. */
async function read(person, { from, group, parts }) {
	let message = null
	let error = null
	for (const { type, content } of parts) {
		try {
			const part =
				type === 'skmsg'
					? await person.device.decryptGroup(group.id, from.peer, content)
					: await person.device.decrypt(from.peer, type, content)
			const { senderKeyDistributionMessage, ...rest } = part
			if (senderKeyDistributionMessage) await person.device.takeSenderKey(from.peer, senderKeyDistributionMessage)
			delete rest.messageContextInfo
			if (Object.keys(rest).length) message = part
		} catch (problem) {
			error = problem
		}
	}
	return { message, error: message ? null : (error ?? new Error('nothing in it')) }
}

/** The person at the other end, from the account's side: who the 1:1 chat is with. */
const chatOf = (world, { group, to }) => (group ? null : world.people.at(to)?.person)

/** Tell the sender's clients that the message arrived. */
function confirm(world, person, { from, group, server, id }) {
	if (!world.setting(person, 'receipts')) return
	receipt(world, person, { account: from.person, group, server, ids: [id], type: undefined })
}

/**
 * Send a receipt of `person` for messages of `account`: plain (delivered), 'read' or 'played'.
 */
export function receipt(world, person, { account, group, server, ids, type }) {
	const [id, ...more] = ids
	const names = group ? { from: group.id, participant: person.jid(server) } : { from: person.jid(server) }
	const items = more.length
		? [
				node(
					'list',
					{},
					more.map((each) => node('item', { id: each })),
				),
			]
		: undefined
	const stanza = node('receipt', { id, ...names, t: seconds(), type }, items)
	for (const companion of account.companions.values()) companion.hold(receiptKey(stanza.attrs), stanza)
	for (const each of ids) {
		const entry = world.ledger.sentBy(account.phone, each)
		if (!entry) continue
		const times = (entry.receipts[person.phone] ??= {})
		times[type ?? 'delivered'] ??= Date.now()
		world.ledger.touch(entry)
	}
}

/** The name under which a client's ack settles a receipt. */
export const receiptKey = ({ id, type, from, participant }) => `receipt:${id}:${type ?? ''}:${from}:${participant ?? ''}`

/** Ask the sender for a message again, with keys for a new session. */
export async function askAgain(world, person, { from, id, to, group, server, entry }) {
	const counted = `${from.person.phone} ${id}`
	const count = (person.retries.get(counted) ?? 0) + 1
	if (count > RETRIES) return log('info', 'a phone gives up on a message', { phone: person.phone, id, count })
	person.retries.set(counted, count)
	const [registration, ...keys] = await person.device.bundle()
	const names = group ? { from: group.id, participant: person.jid(server) } : { from: person.jid(server) }
	if (from.person === person && !group) names.recipient = to
	const stanza = node('receipt', { id, ...names, type: 'retry', t: seconds() }, [
		node('retry', { v: '1', count: String(count), id, t: seconds(entry.at) }),
		registration,
		node('keys', {}, keys),
	])
	from.hold(receiptKey(stanza.attrs), stanza)
}
/** The plain bytes of a media message that a person has. */
export async function mediaBytes(world, person, id) {
	const found = person.messages.get(id)
	if (!found) throw new CallError('no_such_message', `${person.phone} has no message ${id}`)
	const media = mediaOf(found.message)
	if (!media) throw new CallError('bad_arguments', `${id} has no media`)
	return world.media.open(media.part, media.kind)
}
