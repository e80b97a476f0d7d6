"""softmax-regression: does attention shift the data as gradient descent shifts the weights?"""
