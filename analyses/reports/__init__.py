"""Reports: a result as plain data, its files, and every form in which it is read."""
