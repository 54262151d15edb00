"""How cost grows: curves with their exponents, where Lambda's limits are met, and sums on paper."""
