"""Floor 4: recognisers that write down what they hear, and how their words are counted."""
