"""WhatsApp Web, simulated: an emulator in Node that clients connect to, with phones that one can hold."""
