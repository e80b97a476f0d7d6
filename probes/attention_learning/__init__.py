"""How attention learns: knowledge of single words first, attention second."""
