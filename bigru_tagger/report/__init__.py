"""What lies behind the numbers: errors, intervals, probabilities, gates."""
