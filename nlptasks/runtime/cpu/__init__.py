"""What makes a CPU quicker: attention, packed weights, threads of threads, memory given back."""
