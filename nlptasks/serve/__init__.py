"""`nlptasks serve`: tasks over HTTP, in the shapes that clients already speak."""
