"""What tasks of one kind share: text and token classification, question answering, text to text, summarization."""
