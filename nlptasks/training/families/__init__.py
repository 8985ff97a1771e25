"""What differs between families in training: rows, features, head, loss, metrics."""
