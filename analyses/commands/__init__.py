"""The command line: its grammar, what each command does, and how it speaks in a terminal."""
