/** The emulator as a process: a simulated WhatsApp Web on loopback, steered by its parent over stdin and stdout. */

// First of all: it takes stdout before any library can print to it.
import { start } from '../lines.js'

import { repairRatchets } from '../repairs.js'
import { control } from './control.js'

process.title = 'wad-emulator'
// The simulated phones stand on the same libsignal, and real phones do not have this defect.
repairRatchets()

const { calls, stop } = control((name, args) => peer.event(name, args))
const peer = start({ calls, ended: stop })
