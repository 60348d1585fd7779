/** The emulator as a process: a simulated WhatsApp Web on loopback, steered by its parent over stdin and stdout. */

// First of all: it takes stdout before any library can print to it.
import { start } from '../lines.js'

import { control } from './control.js'

process.title = 'wad-emulator'

const { calls, stop } = control((name, args) => peer.event(name, args))
const peer = start({ calls, ended: stop })
