"""Many requests at once behind ``make serve``: each answer is known beforehand, and held to."""
