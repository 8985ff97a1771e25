"""From the best checkpoint to an adapter that serves: saving, the card, the gate, merging."""
