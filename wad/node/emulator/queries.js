/** What the server answers to queries (iq): who has which devices and keys, groups, settings, and the rest of a login. */

import { randomBytes } from 'node:crypto'

import { SERVER, bytes, child, children, digits, node, number, seconds, text } from './nodes.js'
import { codeRequest } from './pairing.js'
import { shareHistory, unlink } from './phone.js'

/** A refusal, as an iq of type error carries it. */
class Refusal extends Error {
	constructor(code, text) {
		super(text)
		this.code = code
	}
}

/**
 * Answer a query of a linked client, or of one that registers (then `companion` is undefined and `applicant` there).
 */
export async function answer(world, { companion, applicant, connection }, iq) {
	const { id, to, xmlns, type } = iq.attrs
	if (type === 'result' || type === 'error') return
	const first = Array.isArray(iq.content) ? iq.content[0] : undefined
	const reply = (attrs, content) => connection.send(node('iq', { from: to, id, ...attrs }, content))
	const handler = (companion ? LINKED : REGISTERING)[xmlns]
	try {
		const content = await handler?.(world, { companion, applicant, connection }, { iq, first, set: type === 'set' })
		// Whatever is not known is answered with an empty result: statistics, dirty bits, presence of new features.
		reply({ type: 'result' }, content ?? undefined)
		if (xmlns === 'passive' && first?.tag === 'active') await ready(world, companion)
		if (first?.tag === 'remove-companion-device') unlink(world, companion, 'client')
	} catch (error) {
		if (!(error instanceof Refusal)) throw error
		reply({ type: 'error' }, [node('error', { code: String(error.code), text: error.message })])
	}
}

/** The client wants its queue. */
async function ready(world, companion) {
	if (world.setting(companion.person, 'offlinePreview')) {
		companion.connection.send(
			node('ib', { from: SERVER }, [
				node('offline_preview', { count: String(companion.pending.size), message: String(companion.pending.size) }),
			]),
		)
	}
	companion.activate()
	if (companion.sentHistory || !world.setting(companion.person, 'history')) return
	companion.sentHistory = true
	await shareHistory(world, companion.person, companion)
}

const REGISTERING = {
	md: (world, { applicant }, { first }) => {
		if (first?.tag !== 'link_code_companion_reg') return undefined
		if (first.attrs.stage === 'companion_hello') {
			const phone = digits(first.attrs.jid.split('@')[0])
			if (!world.people.get(phone).registered) throw new Refusal(404, 'item-not-found')
			applicant.code = { ...codeRequest(first), phone }
			return [
				node('link_code_companion_reg', { stage: 'companion_hello' }, [
					node('link_code_pairing_ref', {}, applicant.code.ref),
				]),
			]
		}
		if (first.attrs.stage === 'companion_finish') applicant.code?.finish?.(first)
		return undefined
	},
}

const LINKED = {
	encrypt,
	usync,
	'w:g2': groups,
	'w:m': (world, { companion }) => [
		node('media_conn', { auth: companion.person.phone, ttl: '3600', auth_ttl: '3600', max_buckets: '12' }, [
			node('host', { hostname: world.media.hostname, maxContentLengthBytes: String(100 * 1024 * 1024) }),
		]),
	],
	abt: () => [node('props', { protocol: '1', hash: 'emulated' })],
	blocklist: () => [node('list', { matched: 'false' })],
	privacy: (world, { companion }, { first, set }) => {
		if (set && first?.tag === 'tokens') companion.tokens += children(first, 'token').length
		return !set && first?.tag === 'privacy' ? PRIVACY : undefined
	},
	'w:sync:app:state': (world, context, { first }) => [
		node(
			'sync',
			{},
			children(first, 'collection').map(({ attrs }) =>
				node('collection', { name: attrs.name, version: attrs.version ?? '0', type: 'result' }),
			),
		),
	],
	'w:profile:picture': () => {
		throw new Refusal(404, 'item-not-found')
	},
}

const PRIVACY = [
	node(
		'privacy',
		{},
		['last', 'online', 'profile', 'status', 'readreceipts', 'groupadd', 'calladd'].map((name) =>
			node('category', { name, value: 'all' }),
		),
	),
]

// -------------------------------------------------------------------------------------------------------------- keys

async function encrypt(world, { companion }, { iq, first, set }) {
	if (set) {
		if (first?.tag === 'rotate') companion.rotate(child(first, 'skey'))
		else companion.upload(iq)
		return undefined
	}
	if (first?.tag === 'count') return [node('count', { value: String(companion.preKeyCount) })]
	if (first?.tag === 'digest') return [node('digest', {}, [node('registration', {}, number(companion.registrationId, 4))])]
	if (first?.tag !== 'key') return undefined
	const users = []
	for (const { attrs } of children(first, 'user')) {
		const at = world.people.at(attrs.jid)
		if (!at?.person.registered) continue
		if (at.device === 0)
			users.push(node('user', { jid: attrs.jid }, await at.person.device.run(() => at.person.device.bundle())))
		else if (at.person.companions.has(at.device))
			users.push(node('user', { jid: attrs.jid }, bundleNodes(at.person.companions.get(at.device).takeBundle())))
	}
	return [node('list', {}, users)]
}

function bundleNodes({ registrationId, identity, signedPreKey, preKey }) {
	return [
		node('registration', {}, number(registrationId, 4)),
		node('type', {}, Buffer.from([5])),
		node('identity', {}, identity),
		...(preKey ? [node('key', {}, [node('id', {}, number(preKey.id, 3)), node('value', {}, preKey.value)])] : []),
		node('skey', {}, [
			node('id', {}, number(signedPreKey.id, 3)),
			node('value', {}, signedPreKey.value),
			node('signature', {}, signedPreKey.signature),
		]),
	]
}

// ------------------------------------------------------------------------------------------------------------ people

function usync(world, { companion }, { first }) {
	const asked = children(child(first, 'query')).map(({ tag }) => tag)
	const users = children(child(first, 'list'), 'user').map((user) => {
		const phone = text(child(user, 'contact'))
		const at = world.people.at(user.attrs.jid ?? `${digits(phone)}@s.whatsapp.net`)
		if (!at) return undefined
		const { person, server } = at
		const facts = {
			contact: () => node('contact', { type: person.registered ? 'in' : 'out' }, phone || undefined),
			devices: () => {
				if (!person.registered) return node('devices', {})
				person.watchers.add(companion.person)
				const devices = [0, ...person.companions.keys()].map((id) =>
					node('device', { id: String(id), 'key-index': id ? String(id) : undefined }),
				)
				return node('devices', {}, [node('device-list', { hash: randomBytes(6).toString('base64') }, devices)])
			},
			lid: () => (person.registered && server !== 'lid' ? node('lid', { val: person.lidJid }) : undefined),
			status: () => node('status', { t: seconds() }, Buffer.from('')),
			disappearing_mode: () => node('disappearing_mode', { duration: '0', t: '0' }),
		}
		return node('user', { jid: person.jid(server) }, asked.map((name) => facts[name]?.()).filter(Boolean))
	})
	const results = node(
		'result',
		{},
		asked.map((name) => node(name)),
	)
	return [
		node('usync', { sid: first.attrs.sid, mode: first.attrs.mode, context: first.attrs.context }, [
			results,
			node('list', {}, users.filter(Boolean)),
		]),
	]
}

// ------------------------------------------------------------------------------------------------------------ groups

function groups(world, { companion }, { iq, first, set }) {
	const account = companion.person
	const people = () =>
		children(first, 'participant')
			.map(({ attrs }) => world.people.at(attrs.jid)?.person)
			.filter(Boolean)
	if (first?.tag === 'participating')
		return [
			node(
				'groups',
				{},
				world.groups.of(account).map((group) => group.describe()),
			),
		]
	if (first?.tag === 'create') {
		const group = world.groups.create({ subject: first.attrs.subject, creator: account, people: people(), server: 'lid' })
		return [group.describe()]
	}
	if (first?.tag === 'invite' && first.attrs.code) {
		const group = world.groups.byCode(first.attrs.code)
		if (!group) throw new Refusal(404, 'item-not-found')
		if (!set) return [group.describe()]
		world.groups.add(group, account, [account])
		return [node('group', { jid: group.id })]
	}
	if (first?.tag === 'leave') {
		for (const { attrs } of children(first, 'group')) {
			const group = world.groups.get(attrs.id)
			if (group) world.groups.remove(group, account, [account])
		}
		return [node('leave', {}, children(first, 'group'))]
	}
	const group = world.groups.get(iq.attrs.to)
	if (!group) throw new Refusal(404, 'item-not-found')
	if (!group.members.has(account)) throw new Refusal(403, 'forbidden')
	const results = () => [
		node(
			first.tag,
			{},
			people().map((person) => node('participant', { jid: person.jid(group.server) })),
		),
	]
	switch (first?.tag) {
		case 'query':
			return [group.describe()]
		case 'invite':
			if (set) group.code = randomBytes(16).toString('base64url')
			return [node('invite', { code: group.code })]
		case 'add':
			world.groups.add(group, account, people())
			return results()
		case 'remove':
			world.groups.remove(group, account, people())
			return results()
		case 'promote':
		case 'demote':
			world.groups.rank(group, account, people(), first.tag)
			return results()
		case 'subject':
			world.groups.subject(group, account, text(first))
			return undefined
		case 'description':
			world.groups.describe(group, account, bytes(child(first, 'body')).toString('utf8'))
			return undefined
		default:
			return undefined
	}
}
