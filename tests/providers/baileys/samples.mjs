/**
 * Prints samples.json: messages as the bridge hands them to wad, made by Baileys' own code.
 *
 * Run it again when Baileys is raised:  node tests/providers/baileys/samples.mjs > tests/providers/baileys/samples.json
 * Ids, keys and times are fixed, so that a difference is Baileys'.
 */

import * as B from '../../../wad/node/node_modules/@whiskeysockets/baileys/lib/index.js'
import { pack } from '../../../wad/node/bridge/wire.js'

const { proto } = B
const ME = '15550000001@s.whatsapp.net'
const MY_LID = '900001@lid'
const ANA = '5215512345678@s.whatsapp.net'
const ANAS_LID = '800002@lid'
const GROUP = '120363041234567890@g.us'
const T = '1795521600'
const bytes = (n, length = 32) => Buffer.alloc(length, n)
const upload = async () => ({ mediaUrl: 'https://mmg.whatsapp.net/v/file.enc', directPath: '/v/file.enc' })

const PERSON = { from: ANA, sender_lid: ANAS_LID, addressing_mode: 'pn' }
const HIDDEN = { from: ANAS_LID, addressing_mode: 'lid' }
const BY_LID = { from: ANAS_LID, sender_pn: ANA, addressing_mode: 'lid' }
const IN_GROUP = { from: GROUP, participant: ANAS_LID, participant_pn: ANA, addressing_mode: 'lid' }
const MINE = { from: ME, recipient: ANA, addressing_mode: 'pn' }

let count = 0
/** `message` (a proto's object) as it is after it travelled to us in a stanza with `attrs`. */
function arrived(attrs, message) {
	const id = `3A${String(++count).padStart(18, '0')}`
	const stanza = { id, t: T, type: 'text', notify: 'Ana', ...attrs }
	const { fullMessage } = B.decodeMessageNode({ tag: 'message', attrs: stanza }, ME, MY_LID)
	if (message) {
		const inner = proto.Message.decode(proto.Message.encode(proto.Message.fromObject(message)).finish())
		fullMessage.message = inner.deviceSentMessage?.message ?? inner
		B.cleanMessage(fullMessage, ME, MY_LID)
	}
	return pack(fullMessage)
}

/** `content` as a contact's client makes it. */
async function made(content, options = {}) {
	const { message } = await B.generateWAMessage(ME, content, { userJid: ANA, messageId: 'X', upload, ...options })
	const plain = proto.Message.toObject(message, {})
	if (plain.messageContextInfo) plain.messageContextInfo.messageSecret = bytes(7)
	if (plain.reactionMessage) plain.reactionMessage.senderTimestampMs = 1795521600000
	if (plain.protocolMessage?.timestampMs) plain.protocolMessage.timestampMs = 1795521600000
	for (const part of Object.values(plain)) {
		if (!part.mediaKey) continue
		Object.assign(part, { mediaKey: bytes(1), fileEncSha256: bytes(2), mediaKeyTimestamp: 1795521600 })
		delete part.stickerSentTs
	}
	return plain
}

const file = Buffer.from('a file')
const vcard = 'BEGIN:VCARD\nVERSION:3.0\nN:Ruiz;Eva;;;\nFN:Eva Ruiz\nitem1.TEL;type=CELL;waid=5215598765432:+52 1 55 9876 5432\nEND:VCARD'
const theirs = { remoteJid: ME, id: '3A0000000000000000AA', fromMe: true } // as its sender sees its own
const ours = { remoteJid: ME, id: '3EB0000000000000000001', fromMe: false } // as its reader sees ours
const quotingOurs = { quoted: { key: { ...ours, participant: ME }, message: { conversation: 'hola' } } }

const samples = {
	conversation: arrived(PERSON, { conversation: 'hola' }),
	text: arrived(PERSON, await made({ text: 'hola @15550000001', mentions: [ME] })),
	'text by LID': arrived(BY_LID, await made({ text: 'hola' })),
	'text by LID alone': arrived(HIDDEN, await made({ text: 'hola' })),
	'text in a group': arrived(IN_GROUP, await made({ text: 'hola' })),
	reply: arrived(PERSON, await made({ text: 'sí' }, quotingOurs)),
	forwarded: arrived(PERSON, { extendedTextMessage: { text: 'x', contextInfo: { isForwarded: true, forwardingScore: 7 } } }),
	image: arrived(PERSON, await made({ image: file, caption: 'foto', mimetype: 'image/jpeg' })),
	'view once': arrived(PERSON, { viewOnceMessageV2: { message: await made({ image: file, mimetype: 'image/jpeg' }) } }),
	'view once, not for us': { ...arrived(PERSON), key: { ...arrived(PERSON).key, isViewOnce: true } },
	video: arrived(PERSON, await made({ video: file, caption: 'clip', mimetype: 'video/mp4' })),
	'voice note': arrived(PERSON, await made({ audio: file, ptt: true, seconds: 3, mimetype: 'audio/ogg; codecs=opus' })),
	audio: arrived(PERSON, await made({ audio: file, seconds: 3, mimetype: 'audio/mpeg' })),
	document: arrived(PERSON, await made({ document: file, fileName: 'factura.pdf', mimetype: 'application/pdf' })),
	'document with a caption': arrived(PERSON, {
		documentWithCaptionMessage: {
			message: await made({ document: file, fileName: 'f.pdf', caption: 'ahí va', mimetype: 'application/pdf' }),
		},
	}),
	sticker: arrived(PERSON, await made({ sticker: file, mimetype: 'image/webp' })),
	location: arrived(PERSON, await made({ location: { degreesLatitude: 19.43, degreesLongitude: -99.13, name: 'Zócalo' } })),
	'live location': arrived(PERSON, { liveLocationMessage: { degreesLatitude: 19.4, degreesLongitude: -99.1, caption: 'voy' } }),
	contact: arrived(PERSON, await made({ contacts: { displayName: 'Eva', contacts: [{ displayName: 'Eva', vcard }] } })),
	contacts: arrived(PERSON, await made({ contacts: { displayName: '2', contacts: [{ displayName: 'Eva', vcard }, { displayName: 'Leo', vcard: '' }] } })),
	reaction: arrived(PERSON, await made({ react: { text: '👍', key: ours } })),
	'reaction taken back': arrived(PERSON, await made({ react: { text: '', key: ours } })),
	'reaction to their own': arrived(PERSON, await made({ react: { text: '😂', key: theirs } })),
	'reaction in a group': arrived(IN_GROUP, await made({ react: { text: '👍', key: { ...ours, remoteJid: GROUP, participant: MY_LID } } })),
	poll: arrived(PERSON, await made({ poll: { name: '¿Cuándo?', values: ['hoy', 'mañana'], selectableCount: 1, messageSecret: bytes(7) } })),
	'poll vote': arrived(PERSON, { pollUpdateMessage: { pollCreationMessageKey: ours, vote: { encPayload: bytes(3), encIv: bytes(4, 12) } } }),
	disappearing: arrived(PERSON, { ephemeralMessage: { message: { extendedTextMessage: { text: 'poof', contextInfo: { expiration: 86400 } } } } }),
	edit: arrived(PERSON, await made({ text: 'adiós', edit: theirs })),
	'edit, wrapped': arrived(PERSON, { editedMessage: { message: await made({ text: 'adiós', edit: theirs }) } }),
	deletion: arrived(PERSON, await made({ delete: theirs })),
	'deletion in a group': arrived(IN_GROUP, await made({ delete: { ...theirs, remoteJid: GROUP, participant: ANAS_LID } })),
	'deletion of ours by an admin': arrived(IN_GROUP, await made({ delete: { ...ours, remoteJid: GROUP, participant: ME } })),
	'button pressed': arrived(PERSON, { buttonsResponseMessage: { selectedButtonId: 'b1', selectedDisplayText: 'Sí', type: 1 } }),
	'list chosen': arrived(PERSON, { listResponseMessage: { title: 'Rojo', singleSelectReply: { selectedRowId: 'r1' } } }),
	'quick reply': arrived(PERSON, { templateButtonReplyMessage: { selectedId: 'p', selectedDisplayText: 'Sí' } }),
	product: arrived(PERSON, { productMessage: { body: 'x' } }),
	'sent from the phone': arrived(MINE, { deviceSentMessage: { destinationJid: ANA, message: await made({ text: 'yo' }) } }),
	'image sent from the phone': arrived(MINE, { deviceSentMessage: { destinationJid: ANA, message: await made({ image: file, mimetype: 'image/jpeg' }) } }),
	'keys of a group': arrived(IN_GROUP, { senderKeyDistributionMessage: { groupId: GROUP, axolotlSenderKeyDistributionMessage: bytes(5) } }),
	'keys of a group, with a text': arrived(IN_GROUP, {
		senderKeyDistributionMessage: { groupId: GROUP, axolotlSenderKeyDistributionMessage: bytes(5) },
		conversation: 'primera',
	}),
	'disappearing set': arrived(PERSON, { protocolMessage: { type: 3, ephemeralExpiration: 86400 } }),
	undecryptable: { ...arrived(PERSON), messageStubType: 2, messageStubParameters: ['No session record'] },
	'somebody joined': { ...arrived(IN_GROUP), messageStubType: 27, messageStubParameters: ['{"id":"1@lid"}'] },
	status: arrived({ from: 'status@broadcast', participant: ANA }, { conversation: 'mi estado' }),
	newsletter: arrived({ from: '120363000000000000@newsletter' }, { conversation: 'noticias' }),
	'broadcast list': arrived({ from: '1700000000@broadcast', participant: ANA, participant_lid: ANAS_LID }, { conversation: 'a todos' }),
}

process.stdout.write(JSON.stringify(samples, null, '\t') + '\n')
