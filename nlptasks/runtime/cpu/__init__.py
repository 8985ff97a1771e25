"""What makes a CPU quicker: attention, packed weights, lanes of threads, memory given back."""
