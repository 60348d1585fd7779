/** The bridge: a Node process that carries a shard of WhatsApp Web sessions for its parent. */

// First of all, before anything that might print: lines.js takes stdout.
import { CallError, log, start } from '../lines.js'

import { repairRatchets, repairVerify } from '../repairs.js'
import { Pressure } from './pressure.js'
import { owner, Session } from './session.js'

process.title = 'wad-bridge'
repairRatchets()
if (!process.argv.includes('--trust-any-server')) repairVerify()

/** What nobody caught: the trouble of the session it befell, or, where that is not known, the end of this process. */
const uncaught = (what) => (error) => {
	const { session, link } = owner.getStore() ?? {}
	if (session) return session.stumbled(what, error, link)
	log('error', what, { error: String(error?.stack ?? error) })
	process.exit(1) // the parent starts a clean one
}
process.on('uncaughtException', uncaught('an uncaught exception'))
process.on('unhandledRejection', (error) => {
	// Baileys leaves promises behind when a socket closes under them (sendNode in its listeners): that is told as such. So
	// does a call that the parent refused: it has let go of the session, or the store is away. Anything else is a bug.
	if (error instanceof CallError) log('warning', 'a promise that a refused call left behind', { error: error.message })
	else if (error?.isBoom) log('warning', 'a promise that a closed socket left behind', { error: error.message })
	else uncaught('an unhandled rejection')(error)
})

const sessions = new Map()
const found = (id) => {
	const session = sessions.get(id)
	if (!session) throw new CallError('no_session', 'this bridge does not carry the session')
	return session
}
/** A call of an open session: its arguments pass through. */
const on = (method) => (args) => {
	const session = found(args.session)
	return owner.run({ session }, () => session[method](args))
}

const peer = start({
	calls: {
		open(args) {
			const session = sessions.get(args.session) ?? new Session(args.session, { peer, tell, pressure })
			session.open(args)
			sessions.set(args.session, session)
			return {}
		},
		async close({ session: id }) {
			const session = sessions.get(id)
			sessions.delete(id)
			await session?.close()
			return {}
		},
		async logout({ session: id }) {
			await found(id).logout()
			sessions.delete(id)
			return {}
		},
		pairing_code: on('pairingCode'),
		send: on('send'),
		read: async (args) => (await on('read')(args), {}),
		presence: async (args) => (await on('presence')(args), {}),
		groups: on('groups'),
		group: on('group'),
		on_whatsapp: on('onWhatsApp'),
		download: on('download'),
		stats() {
			const { rss, heapUsed } = process.memoryUsage()
			return { sessions: sessions.size, rss, heap: heapUsed, unacked: peer.unacked() }
		},
	},
})

const pressure = new Pressure(() => peer.unacked())
function tell(name, args) {
	const seq = peer.event(name, args)
	pressure.check()
	return seq
}
peer.onAck((seq) => {
	for (const session of sessions.values()) session.acked(seq)
	pressure.check()
})
