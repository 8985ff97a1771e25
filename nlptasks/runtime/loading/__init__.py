"""A base's weights, heads and adapters made into models; devices and number formats."""
