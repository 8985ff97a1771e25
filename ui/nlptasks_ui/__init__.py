"""The web app: every task a form, a chat over all of them, batches, and training; itself a plugin."""
