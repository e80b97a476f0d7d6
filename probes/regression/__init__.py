"""How a regression model is examined: on which tasks, how it reads them, what it answers, and beside which nulls."""
