"""The built-in tasks. They come through the same entry points as any third party's plugin."""
