"""The data that prompts are made of: templates, word lists and WordNet's nouns."""
