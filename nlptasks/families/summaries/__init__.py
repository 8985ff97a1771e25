"""The texts of summaries: cut into chunks, split into sentences, compared with their source."""
