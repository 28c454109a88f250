"""Real graphs for the safety proof, and a look at what they store."""
