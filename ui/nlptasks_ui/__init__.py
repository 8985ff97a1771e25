"""The place of the web app, which will be a plugin like any other. Nothing is here yet."""
