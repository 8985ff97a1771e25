"""What tasks of one kind share: text classification and text to text."""
